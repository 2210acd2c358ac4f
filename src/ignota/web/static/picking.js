// What is picked in the picture: the extents of a click, what stands out in a box, or a mask drawn by hand.

import { post } from "./api.js";
import { measured, minus, pack, stroke, union, unpack } from "./masks.js";
import { again } from "./opening.js";
import { components, extentsAt, objectParts } from "./regions.js";
import { session, tell } from "./session.js";
import { toast } from "./toasts.js";

const STEPS = 60; // that can be taken back
let made = 0;

const OWN = 0.5; // the world's threshold, at which it has found objects

// Unknown objects at the world's own threshold, else connected unknown pixels; found once.
export function partsOf(item) {
  if (item.parts?.threshold !== session.threshold) {
    const whole = session.threshold === OWN ? objectParts(item.planes) : null;
    item.parts = { threshold: session.threshold, ...(whole ?? components(item.planes, session.threshold)) };
  }
  return item.parts;
}

// how: "new" begins a pick; "plus" and "minus" change the one there is.
export function pick(item, at, how = "new") {
  const from = performance.now();
  const corrects = session.pick?.item === item && how !== "new";
  if (how === "new" || !session.pick) pickAt(item, at);
  else if (corrects && refines(at, how)) refine(item, at, how).catch((error) => toast(error.message, { bad: true }));
  else change(item, meantAt(item, at, how), how);
  performance.measure("pick", { start: from, end: performance.now() });
}

// Whether a further click asks for a coarser or finer object: where an object was clicked and nothing was drawn since.
// Outside of it a click that takes away is a counter-example.
function refines(at, how) {
  const { pick } = session;
  const whole = pick.extent.name === "object" || pick.clicks;
  return whole && Boolean(pick.extent.mask[at]) === (how === "minus");
}

async function refine(item, at, how) {
  const { pick } = session;
  const clicks = pick.clicks ?? { at: pick.at, plus: [], minus: [] };
  const next = { ...clicks, [how]: [...clicks[how], at] };
  const [x, y] = placeOf(item, next.at);
  const [plus, minus] = [next.plus, next.minus].map((listed) => listed.map((each) => placeOf(item, each)));
  const click = { x, y, extent: "object", threshold: session.threshold, plus, minus };
  const told = await again(item, () => post("api/select", { image: item.key, click }));
  if (session.pick?.id !== pick.id) return;
  const mask = unpack(told.rle, item.planes.width, item.planes.height);
  draw(item, mask, "", next);
}

// The middle of a pixel of the working grid, in pixels of the picture.
function placeOf(item, at) {
  const { width, height } = item.planes;
  return [(((at % width) + 0.5) * item.width) / width, ((Math.floor(at / width) + 0.5) * item.height) / height];
}

const isUnknown = ({ name }) => name === "object" || name === "unknown";

function pickAt(item, at, wanted = null) {
  const extents = extentsAt(item.planes, at, session.threshold, partsOf(item));
  const index = wanted ?? Math.max(0, extents.findIndex(isUnknown));
  const { width, height } = item.planes;
  const [x, y] = placeOf(item, at);
  const { threshold } = session;
  const mark = ({ name, mask }) =>
    name === "object"
      ? { image: item.key, rle: pack(mask, width, height) }
      : { image: item.key, click: { x, y, extent: name, threshold } };
  begin({ item, extents, index: Math.min(index, extents.length - 1), mark, at });
}

// A further click takes the unknown region, or the region between edges; a click that takes away that region, or a
// round spot where the region is all that is picked.
function meantAt(item, at, how) {
  const extents = extentsAt(item.planes, at, session.threshold, partsOf(item));
  const named = (name) => extents.find((extent) => extent.name === name)?.mask;
  if (how === "plus") return (extents.find(isUnknown) ?? extents[0]).mask;
  const mask = named("region") ?? extents[0].mask;
  const { pick } = session;
  const left = measured(minus(pick.extent.mask, mask), item.planes.width).area;
  return left > 0.05 * pick.extent.area ? mask : spot(item, at);
}

function spot({ planes }, at) {
  const mask = new Uint8Array(planes.width * planes.height);
  const point = { x: (at % planes.width) + 0.5, y: Math.floor(at / planes.width) + 0.5 };
  stroke(mask, planes, point, point, session.brush, 1);
  return mask;
}

export async function pickBox(item, box, how = "new") {
  const { width, height } = item.planes;
  const told = await again(item, () => post("api/select", { image: item.key, box }));
  const mask = unpack(told.rle, width, height);
  if (item !== session.current) return;
  if (how !== "new" && session.pick) {
    change(item, mask, how);
    return;
  }
  const extent = { name: "box", text: "what the box means", mask, ...measured(mask, width) };
  begin({ item, extents: [extent], index: 0, mark: () => ({ image: item.key, box }), at: null });
}

// Adds a mask to the pick, or takes it away; what is taken away outside the pick is a counter-example.
export function change(item, mask, how) {
  const { pick } = session;
  const now = pick?.item === item ? pick.extent.mask : new Uint8Array(mask.length);
  if (how !== "minus") {
    draw(item, how === "new" ? mask : union(now, mask));
    return;
  }
  if (!pick) return;
  const touched = mask.some((value, i) => value && now[i]);
  if (touched) draw(item, minus(now, mask));
  else follow({ ...pick, against: [...pick.against, mask] });
}

// The pick as a mask drawn by hand, or as what several clicks mean; without a pixel it is dropped.
export function draw(item, mask, name = "", clicks = null) {
  const size = measured(mask, item.planes.width);
  if (!size.area) {
    drop();
    return;
  }
  const extent = { name: "drawn", text: clicks ? "what the clicks mean" : "drawn by hand", mask, ...size };
  const mark = () => ({ image: item.key, rle: pack(mask, item.planes.width, item.planes.height) });
  const drawn = { item, extents: [extent], index: 0, mark, at: null, clicks };
  if (session.pick?.item === item) follow({ ...session.pick, ...drawn });
  else begin({ ...drawn, name });
}

export function widen(step) {
  const { pick } = session;
  if (!pick) return;
  const index = Math.min(pick.extents.length - 1, Math.max(0, pick.index + step));
  if (index !== pick.index) show({ ...pick, index });
}

// Steps back through what was changed by hand; false where there is nothing to step to.
export function takeBack() {
  const { pick } = session;
  if (!pick?.past.length) return false;
  const before = pick.past.at(-1);
  show({ ...before, future: [pick, ...pick.future] });
  return true;
}

export function redo() {
  const [next, ...future] = session.pick?.future ?? [];
  if (next) show({ ...next, future });
}

export const drop = () => show(null);

// A pick of its own; one that was changed by hand can be had back.
function begin(fields) {
  const { pick } = session;
  const past = pick?.item === fields.item && pick.past.length ? [...pick.past, pick] : [];
  show({ name: "", against: [], ...fields, id: ++made, past, future: [] });
}

// The same pick, changed by hand.
function follow(pick) {
  show({ ...pick, past: [...session.pick.past, session.pick].slice(-STEPS), future: [] });
}

function show(pick) {
  const fresh = pick?.id !== session.pick?.id;
  session.pick = pick && { ...pick, extent: pick.extents[pick.index] };
  tell("pick", { fresh });
}

// What is needed to have the pick again after a reload, and how; places as shares, as another world has another grid.
export function noted({ item, at, index, extent, name }) {
  const { width, height } = item.planes;
  if (at === null) return { rle: pack(extent.mask, width, height), name };
  return { across: ((at % width) + 0.5) / width, down: (Math.floor(at / width) + 0.5) / height, index, name };
}

export function recall(item, { across, down, index, rle, name }) {
  const { width, height } = item.planes;
  if (rle) draw(item, unpack(rle, width, height), name);
  else pickAt(item, Math.floor(down * height) * width + Math.floor(across * width), index);
  if (!session.pick) return;
  session.pick.name = name;
  tell("pick", { fresh: true });
}
