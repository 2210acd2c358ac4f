// What is picked in the picture: the extents of a click, or what stands out in a box.

import { post } from "./api.js";
import { components, extentsAt, maskOf, measured } from "./regions.js";
import { session, tell } from "./session.js";

// Unknown regions at the threshold of now, found once.
export function partsOf(item) {
  if (item.parts?.threshold !== session.threshold) {
    item.parts = { threshold: session.threshold, ...components(item.planes, session.threshold) };
  }
  return item.parts;
}

export function pickAt(item, at) {
  const extents = extentsAt(item.planes, at, session.threshold, partsOf(item));
  const index = Math.max(0, extents.findIndex((extent) => extent.name === "unknown"));
  const { width, height } = item.planes;
  const x = (((at % width) + 0.5) * item.width) / width;
  const y = ((Math.floor(at / width) + 0.5) * item.height) / height;
  const { threshold } = session;
  const mark = (extent) => ({ image: item.key, click: { x, y, extent: extent.name, threshold } });
  setPick({ item, extents, index, mark });
}

export async function pickBox(item, box) {
  const { width, height } = item.planes;
  const told = await post("api/select", { image: item.key, box });
  const mask = maskOf(told.rle, width, height);
  if (item !== session.current) return;
  const extent = { name: "box", text: "what stands out there", mask, ...measured(mask, width) };
  setPick({ item, extents: [extent], index: 0, mark: () => ({ image: item.key, box }) });
}

export function widen(step) {
  const { pick } = session;
  if (!pick) return;
  const index = Math.min(pick.extents.length - 1, Math.max(0, pick.index + step));
  if (index !== pick.index) setPick({ ...pick, index });
}

export function setPick(pick) {
  const fresh = pick?.extents !== session.pick?.extents;
  session.pick = pick && { ...pick, extent: pick.extents[pick.index] };
  tell("pick", { fresh });
}
