// What the page knows: open images, classes, threshold, views, the pick. Whoever wants to know of changes listens.

import { post } from "./api.js";
import { UNKNOWN, applyPatch, histogram, planesOf, shrunk, word } from "./planes.js";

const THUMBNAIL = 176;
const bus = new EventTarget();

export const session = {
  items: [],
  current: null,
  classes: [],
  state: -1,
  calibration: "",
  writable: true,
  threshold: 0.5,
  view: "labels",
  regions: false,
  tool: "pick",
  how: "new",
  brush: 8,
  pick: null,
  wanted: null, // the image to be shown as soon as it is there again
  palette: new Uint32Array(256),
};

export const tell = (what, detail) => bus.dispatchEvent(new CustomEvent(what, { detail }));
export const on = (what, act) => bus.addEventListener(what, (event) => act(event.detail));
export const opened = () => session.items.filter((item) => item.key);
export const itemOf = (key) => session.items.find((item) => item.key === key);
export const nameOf = (id) => session.classes.find((label) => label.id === id)?.name ?? "?";

// Takes over classes and, of each image that was labelled again, its patch.
export function adopt({ state, classes, calibration = "", patches = {} }) {
  if (session.state >= 0 && calibration !== session.calibration) location.reload(); // what was drawn has changed
  Object.assign(session, { state, classes, calibration });
  session.palette.fill(0);
  for (const { id, colour, taught } of classes) {
    const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
    session.palette[id] = word(red, green, blue, taught ? 140 : 84);
  }
  session.palette[UNKNOWN] = word(255, 64, 160, 118);
  for (const [key, patch] of Object.entries(patches)) {
    const item = itemOf(key);
    if (item?.planes) show(item, patch);
  }
  tell("classes");
  tell("items");
}

// The answer with the patches that did not fit into it; all of them again if the world changes meanwhile.
async function complete(told, keys) {
  const patches = { ...told.patches };
  for (let { left } = told; left.length; ) {
    const next = await post("api/relabel", { images: left });
    if (next.state !== told.state) {
      const again = await post("api/relabel", { images: keys });
      return complete({ ...again, done: told.done, lesson: told.lesson }, keys);
    }
    Object.assign(patches, next.patches);
    left = next.left;
  }
  return { ...told, patches };
}

// A change of the world; every open image is labelled again by its answer.
export async function change(path, body) {
  const keys = opened().map((item) => item.key);
  const told = await complete(await post(`api/${path}`, { ...body, relabel: keys }), keys);
  adopt(told);
  const lost = keys.filter((key) => !(key in told.patches)).map(itemOf);
  if (lost.length) tell("lost", lost);
  return told;
}

// What another program did to the world meanwhile; always: labels every image again whether or not the world changed.
export async function catchUp(always = false) {
  const keys = opened().map((item) => item.key);
  const told = await complete(await post("api/relabel", { images: keys }), keys);
  if (always || told.state !== session.state) adopt(told);
}

// Planes from the server, with what taught classes make of them.
export function receive(item, buffer, seen) {
  item.planes = planesOf(buffer, seen.grid);
  Object.assign(item, { key: seen.image, width: seen.width, height: seen.height });
  show(item, seen.patch);
}

function show(item, patch) {
  applyPatch(item.planes, patch);
  item.shares = histogram(item.planes.effective);
  item.small = shrunk(item.planes, THUMBNAIL);
  item.parts = null;
  tell("item", item);
}
