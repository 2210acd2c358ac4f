// How the picture lies in its window: zoom, place, and what a point of the window is in the picture.

import { on, session, tell } from "./session.js";

const element = (id) => document.getElementById(id);
const pane = element("view");
const figure = element("picture");
const MARGIN = 14;
const LARGEST = 24; // pixels of the screen for one of the picture
const STEP = 1.25;

export function startView() {
  on("current", apply);
  new ResizeObserver(apply).observe(pane);
  pane.addEventListener("wheel", wheel, { passive: false });
  for (const [id, act] of [["zoom-out", () => zoom(-1)], ["zoom-in", () => zoom(1)], ["zoom-fit", fit], ["zoom-value", () => zoomTo(1)]]) {
    element(id).addEventListener("click", act);
  }
}

// The scale at which all of it is seen.
function fitting({ width, height }) {
  const [across, down] = [(pane.clientWidth - 2 * MARGIN) / width, (pane.clientHeight - 2 * MARGIN) / height];
  return Math.max(0.001, Math.min(across, down));
}

// zoom: beside what fits. x, y: the point in the middle of the window, in shares of the picture.
const viewOf = (item) => (item.view ??= { zoom: 1, x: 0.5, y: 0.5 });

const scaleOf = (item) => fitting(item) * viewOf(item).zoom;

// Where a side begins: in the middle while all of it is seen, else so that no edge leaves a gap.
function start(room, size, middle) {
  if (size <= room - 2 * MARGIN) return (room - size) / 2;
  return Math.min(MARGIN, Math.max(room - MARGIN - size, room / 2 - middle * size));
}

function apply() {
  const item = session.current;
  if (!item || !pane.clientWidth) return;
  const view = viewOf(item);
  const scale = scaleOf(item);
  const [width, height] = [item.width * scale, item.height * scale];
  const left = start(pane.clientWidth, width, view.x);
  const top = start(pane.clientHeight, height, view.y);
  Object.assign(view, { x: (pane.clientWidth / 2 - left) / width, y: (pane.clientHeight / 2 - top) / height });
  Object.assign(figure.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
  figure.classList.toggle("near", scale >= 3); // pixels as squares, not smeared
  figure.classList.toggle("coarse", width >= 2 * item.planes.width);
  element("zoom-value").textContent = `${Math.round(100 * scale)} %`;
  tell("moved");
}

// A point of the window in pixels of the working grid; outside the picture too.
export function gridPoint(event) {
  const { planes } = session.current;
  const box = figure.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) / box.width) * planes.width,
    y: ((event.clientY - box.top) / box.height) * planes.height,
  };
}

// Zooms by a factor; what lies at the given point of the screen stays there.
export function zoomAt(factor, clientX, clientY) {
  const item = session.current;
  if (!item) return;
  const view = viewOf(item);
  const box = figure.getBoundingClientRect();
  const [x, y] = [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  const before = view.zoom;
  view.zoom = Math.min(Math.max(1, LARGEST / fitting(item)), Math.max(1, before * factor));
  const grown = view.zoom / before;
  Object.assign(view, { x: x + (view.x - x) / grown, y: y + (view.y - y) / grown });
  apply();
}

function middle() {
  const box = pane.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
}

export const zoom = (steps) => zoomAt(STEP ** steps, ...middle());

const zoomTo = (scale) => session.current && zoomAt(scale / scaleOf(session.current), ...middle());

export function fit() {
  if (!session.current) return;
  session.current.view = null;
  apply();
}

// Moves the picture by pixels of the screen.
export function pan(across, down) {
  const item = session.current;
  if (!item) return;
  const view = viewOf(item);
  const scale = scaleOf(item);
  Object.assign(view, { x: view.x - across / (item.width * scale), y: view.y - down / (item.height * scale) });
  apply();
}

function wheel(event) {
  if (!session.current) return;
  event.preventDefault();
  const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  const [across, down] = [event.deltaX * unit, event.deltaY * unit];
  if (!event.ctrlKey && (event.shiftKey || Math.abs(across) > Math.abs(down))) {
    pan(-(across || down), 0);
    return;
  }
  zoomAt(Math.exp(-down * (event.ctrlKey ? 0.01 : 0.0016)), event.clientX, event.clientY); // a pinch comes with ctrlKey
}
