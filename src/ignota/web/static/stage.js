// The picture: photo, colours over it, outlines over those; pointer and keys.

import { FULL, heatPalette, paint } from "./planes.js";
import { partsOf, pickAt, pickBox, setPick, widen } from "./picking.js";
import { outline, regionLines } from "./regions.js";
import { nameOf, on, session, tell } from "./session.js";
import { toast } from "./toasts.js";

const element = (id) => document.getElementById(id);
const figure = element("picture");
const canvas = element("overlay");
const pen = canvas.getContext("2d");
const heat = heatPalette();
const OUTLINES_AFTER = 60;
const DRAG = 5;
let raster = null;
let later = 0;
let hovered = 0;
let hoveredIn = null; // the parts that `hovered` is one of

export function startStage() {
  on("current", showCurrent);
  on("item", (item) => item === session.current && draw());
  on("classes", () => session.current && paintNow());
  on("view", () => session.current && draw());
  on("pick", drawPick);
  on("threshold", () => {
    if (!session.current) return;
    const from = performance.now();
    paintNow();
    performance.measure("threshold", { start: from, end: performance.now() });
    clearTimeout(later);
    later = setTimeout(drawOutlines, OUTLINES_AFTER);
  });
  figure.addEventListener("pointermove", move);
  figure.addEventListener("pointerleave", () => hover(0));
  figure.addEventListener("pointerdown", press);
  figure.addEventListener("wheel", wheel, { passive: false });
  element("photo").addEventListener("error", () => toast("This browser cannot draw that format: colours alone are shown."));
}

function showCurrent() {
  const item = session.current;
  element("empty").hidden = Boolean(item);
  figure.hidden = element("legend").hidden = !item;
  setPick(null);
  if (!item) return;
  const { width, height } = item.planes;
  element("photo").src = item.url;
  element("photo").alt = item.name;
  figure.style.setProperty("--ratio", item.width / item.height);
  canvas.width = width;
  canvas.height = height;
  element("outlines").setAttribute("viewBox", `0 0 ${width} ${height}`);
  raster = pen.createImageData(width, height);
  draw();
}

function draw() {
  paintNow();
  drawOutlines();
}

// Colours at the threshold of now: one pass, no request.
function paintNow() {
  const { view, threshold, palette, current } = session;
  canvas.hidden = view === "none";
  if (canvas.hidden) return;
  paint(new Uint32Array(raster.data.buffer), current.planes, threshold, palette, view === "heat" ? heat : null);
  pen.putImageData(raster, 0, 0);
}

function drawOutlines() {
  const { planes } = session.current;
  const parts = partsOf(session.current);
  const paths = parts.kept.map((part) => pathOf(parts, part, planes));
  draw2("unknown", paths.join(""));
  element("region-lines").setAttribute("d", session.regions ? (planes.lines ??= regionLines(planes)) : "");
  if (hoveredIn !== parts) hover(0);
  tell("outlined");
}

// The outline of an unknown region, found once, by whoever asks first.
function pathOf(parts, part, planes) {
  return (part.path ??= outline(parts.ids, part.id, planes, part.box));
}

// A line and the halo that keeps it apart from whatever lies under it.
function draw2(name, path) {
  element(`${name}-halo`).setAttribute("d", path);
  element(`${name}-lines`).setAttribute("d", path);
}

function drawPick() {
  const extent = session.pick?.extent;
  draw2("pick", extent ? (extent.path ??= outline(extent.mask, 1, session.pick.item.planes, extent.box)) : "");
  figure.classList.toggle("picking", Boolean(extent));
}

function hover(id) {
  if (id === hovered) return;
  hovered = id;
  const parts = id && session.current ? partsOf(session.current) : null;
  const part = parts?.byId.get(id);
  hoveredIn = parts;
  element("hover-lines").setAttribute("d", part ? pathOf(parts, part, session.current.planes) : "");
}

// An unknown region that the keyboard or the list points at.
export const pointAt = (part) => hover(part ? part.id : 0);

function place(event) {
  const { planes } = session.current;
  const box = figure.getBoundingClientRect();
  const inside = (value, size) => Math.min(size - 1, Math.max(0, Math.floor(value * size)));
  const x = inside((event.clientX - box.left) / box.width, planes.width);
  return inside((event.clientY - box.top) / box.height, planes.height) * planes.width + x;
}

function move(event) {
  if (!session.current) return;
  const from = performance.now();
  const parts = partsOf(session.current);
  const at = place(event);
  hover(parts.byId.has(parts.ids[at]) ? parts.ids[at] : 0);
  describe(at, parts.byId.get(parts.ids[at]));
  performance.measure("hover", { start: from, end: performance.now() });
}

function describe(at, part) {
  const { effective, labels } = session.current.planes;
  const anomaly = (effective[at] / FULL).toFixed(2);
  const words = part
    ? `unknown, most like ${nameOf(part.nearest)} · anomaly ${anomaly}`
    : `${nameOf(labels[at])} · anomaly ${anomaly}`;
  element("legend").textContent = words;
}

function press(event) {
  if (event.button !== 0 || !session.current) return;
  event.preventDefault();
  figure.focus({ preventScroll: true });
  figure.setPointerCapture(event.pointerId);
  const item = session.current;
  const [x0, y0] = [event.clientX, event.clientY];
  const first = place(event);
  let last = first;
  let dragged = false;
  const drag = (moved) => {
    dragged ||= Math.hypot(moved.clientX - x0, moved.clientY - y0) > DRAG;
    last = place(moved);
    if (dragged) rubber(item.planes, first, last);
  };
  const drop = async (ended) => {
    figure.removeEventListener("pointermove", drag);
    rubber(item.planes, 0, 0);
    if (ended.type === "pointercancel") return;
    if (dragged) await pickBox(item, boxOf(item, first, last)).catch((error) => toast(error.message, { bad: true }));
    else pick(item, first);
  };
  figure.addEventListener("pointermove", drag);
  figure.addEventListener("pointerup", drop, { once: true });
  figure.addEventListener("pointercancel", drop, { once: true });
}

export function pick(item, at) {
  const from = performance.now();
  pickAt(item, at);
  performance.measure("pick", { start: from, end: performance.now() });
}

function corners(width, first, last) {
  const [xa, xb] = [first % width, last % width].sort((a, b) => a - b);
  const [ya, yb] = [Math.floor(first / width), Math.floor(last / width)].sort((a, b) => a - b);
  return [xa, ya, xb + 1, yb + 1];
}

function boxOf(item, first, last) {
  const { width, height } = item.planes;
  const [left, top, right, bottom] = corners(width, first, last);
  const [across, down] = [item.width / width, item.height / height];
  return [left * across, top * down, right * across, bottom * down];
}

function rubber({ width }, first, last) {
  const [left, top, right, bottom] = corners(width, first, last);
  const size = first === last ? [0, 0] : [right - left, bottom - top];
  const values = { x: left, y: top, width: size[0], height: size[1] };
  for (const [name, value] of Object.entries(values)) element("rubber").setAttribute(name, value);
}

function wheel(event) {
  if (!session.pick || event.ctrlKey) return;
  event.preventDefault();
  if (Math.abs(event.deltaY) > 2) widen(event.deltaY < 0 ? 1 : -1);
}
