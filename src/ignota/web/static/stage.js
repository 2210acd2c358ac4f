// The picture: photo, colours over it, outlines over those.

import { light } from "./light.js";
import { heatPalette, paint } from "./planes.js";
import { drop, partsOf } from "./picking.js";
import { outline, regionLines } from "./regions.js";
import { on, session, tell } from "./session.js";
import { toast } from "./toasts.js";

const element = (id) => document.getElementById(id);
const figure = element("picture");
const canvas = element("overlay");
const pen = canvas.getContext("2d");
const heat = heatPalette();
const OUTLINES_AFTER = 60;
let raster = null;
let later = 0;
let hovered = null;
let hoveredIn = null; // the parts that `hovered` is one of

export function startStage() {
  on("current", showCurrent);
  on("item", (item) => item === session.current && draw());
  on("classes", () => session.current && paintNow());
  on("view", () => session.current && draw());
  on("pick", showPick);
  on("threshold", () => {
    if (!session.current) return;
    const from = performance.now();
    paintNow();
    performance.measure("threshold", { start: from, end: performance.now() });
    clearTimeout(later);
    later = setTimeout(drawOutlines, OUTLINES_AFTER);
  });
  element("photo").addEventListener("error", () => toast("This browser cannot draw that format: colours alone are shown."));
}

function showCurrent() {
  const item = session.current;
  element("empty").hidden = Boolean(item);
  for (const id of ["picture", "tools", "status"]) element(id).hidden = !item;
  drop();
  if (!item) return;
  const { width, height } = item.planes;
  element("photo").src = item.url;
  element("photo").alt = item.name;
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
  if (!session.current) return;
  const { planes } = session.current;
  const parts = partsOf(session.current);
  const paths = parts.kept.map((part) => pathOf(parts, part, planes));
  line("unknown", paths.join(""));
  element("region-lines").setAttribute("d", session.regions ? (planes.lines ??= regionLines(planes)) : "");
  if (hoveredIn !== parts) pointAt(null);
  tell("outlined");
}

// The outline of an unknown region, found once, by whoever asks first.
function pathOf(parts, part, planes) {
  return (part.path ??= outline(parts.ids, part.id, planes, part.box));
}

// A line and the halo that keeps it apart from whatever lies under it.
function line(name, path) {
  element(`${name}-halo`).setAttribute("d", path);
  element(`${name}-lines`).setAttribute("d", path);
}

function showPick() {
  const { pick } = session;
  const extent = pick?.extent;
  line("pick", extent ? (extent.path ??= outline(extent.mask, 1, pick.item.planes, extent.box)) : "");
  light("pick", extent && { ids: extent.mask, id: 1, box: extent.box });
  light("against", pick?.against.length ? all(pick) : null);
  if (extent) pointAt(null);
  figure.classList.toggle("picking", Boolean(extent));
}

function all({ item: { planes }, against }) {
  const ids = Uint8Array.from(against[0], (_, i) => (against.some((mask) => mask[i]) ? 1 : 0));
  return { ids, id: 1, box: [0, 0, planes.width, planes.height] };
}

// Lights up a whole unknown region that the pointer, the keyboard or the list points at.
export function pointAt(part) {
  const parts = session.current ? partsOf(session.current) : null;
  if (part === hovered && (part === null || parts === hoveredIn)) return;
  [hovered, hoveredIn] = [part, parts];
  element("hover-lines").setAttribute("d", part ? pathOf(parts, part, session.current.planes) : "");
  light("hover", part && !session.pick && { ids: parts.ids, id: part.id, box: part.box });
}
