// The pointer over the picture: one finger works, two zoom, the middle button or the space bar pulls.

import { partsOf } from "./picking.js";
import { FULL } from "./planes.js";
import { nameOf, session } from "./session.js";
import { pointAt } from "./stage.js";
import { gesture, showTip } from "./tools.js";
import { gridPoint, pan, zoomAt } from "./view.js";

const element = (id) => document.getElementById(id);
const pane = element("view");
const down = new Map();
let doing = null;
let pulls = false;

export function startPointing() {
  pane.addEventListener("pointerdown", press);
  pane.addEventListener("pointermove", move);
  pane.addEventListener("pointerleave", leave);
  for (const type of ["pointerup", "pointercancel"]) pane.addEventListener(type, release);
  pane.addEventListener("auxclick", (event) => event.preventDefault());
  addEventListener("keydown", (event) => event.key === " " && hold(event, true));
  addEventListener("keyup", (event) => event.key === " " && hold(event, false));
  addEventListener("blur", () => hold(null, false));
}

// While the space bar is down, a drag pulls the picture.
function hold(event, on) {
  if (on && event.target.matches("button, input, select, textarea, a")) return;
  if (on) event.preventDefault();
  pulls = on;
  pane.classList.toggle("pulls", on);
}

function press(event) {
  if (!session.current || event.button > 1) return;
  event.preventDefault();
  element("picture").focus({ preventScroll: true });
  pane.setPointerCapture(event.pointerId);
  down.set(event.pointerId, event);
  if (down.size > 1) {
    doing?.cancel();
    doing = down.size === 2 ? pinching() : null;
  } else {
    doing = event.button === 1 || pulls ? pulling(event) : gesture(event);
  }
}

function move(event) {
  if (!session.current) return;
  if (down.has(event.pointerId)) {
    doing?.move(event);
    down.set(event.pointerId, event);
  }
  showTip(gridPoint(event));
  if (!down.size) look(event);
}

function release(event) {
  if (!down.delete(event.pointerId)) return;
  const done = doing;
  doing = null;
  if (event.type === "pointercancel") done?.cancel();
  else done?.end(event);
}

function leave() {
  if (down.size) return;
  showTip(null);
  pointAt(null);
  element("legend").textContent = "";
}

function pulling(event) {
  let before = event;
  const move = (moved) => {
    pan(moved.clientX - before.clientX, moved.clientY - before.clientY);
    before = moved;
  };
  return { move, end() {}, cancel() {} };
}

// Two fingers: their distance zooms, their middle pulls.
function pinching() {
  const reading = () => {
    const [a, b] = [...down.values()];
    return { x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2, wide: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) };
  };
  let before = reading();
  const move = (moved) => {
    down.set(moved.pointerId, moved);
    const now = reading();
    pan(now.x - before.x, now.y - before.y);
    zoomAt(now.wide / Math.max(1, before.wide), now.x, now.y);
    before = now;
  };
  return { move, end() {}, cancel() {} };
}

// Lights up the unknown region under the pointer and says what lies there.
function look(event) {
  const from = performance.now();
  const { planes } = session.current;
  const point = gridPoint(event);
  const [x, y] = [Math.floor(point.x), Math.floor(point.y)];
  const inside = x >= 0 && y >= 0 && x < planes.width && y < planes.height;
  const parts = partsOf(session.current);
  const at = y * planes.width + x;
  const part = inside ? parts.byId.get(parts.ids[at]) : undefined;
  pointAt(session.tool === "pick" && part ? part : null);
  element("legend").textContent = inside ? describe(planes, at, part) : "";
  performance.measure("hover", { start: from, end: performance.now() });
}

function describe({ effective, labels }, at, part) {
  const anomaly = (effective[at] / FULL).toFixed(2);
  return part ? `unknown, most like ${nameOf(part.nearest)} · anomaly ${anomaly}` : `${nameOf(labels[at])} · anomaly ${anomaly}`;
}
