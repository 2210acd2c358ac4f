// What a press of the pointer does: pick with a click or a box, draw with brush, eraser or polygon.

import { light } from "./light.js";
import { measured, polygonMask, stroke } from "./masks.js";
import { change, draw, pick, pickBox } from "./picking.js";
import { on, session, tell } from "./session.js";
import { toast } from "./toasts.js";
import { gridPoint } from "./view.js";

const element = (id) => document.getElementById(id);
const DRAG = 5;
const CLOSES = 9; // pixels of the screen from the first corner of a polygon
const SIZES = [1, 120];
const TOOLS = ["pick", "polygon", "brush", "eraser"];
let corners = [];
let meant = "new"; // what the polygon is for, from the press at its first corner

export function startTools() {
  for (const name of TOOLS) element(`tool-${name}`).addEventListener("click", () => choose(name));
  for (const how of ["plus", "minus"]) element(`how-${how}`).addEventListener("click", () => chooseHow(how));
  element("brush-size").addEventListener("input", () => resize(Number(element("brush-size").value)));
  element("view").addEventListener("dblclick", () => closePolygon());
  on("current", () => dropCorners());
  choose("pick");
}

export function choose(name) {
  session.tool = name;
  dropCorners();
  for (const other of TOOLS) element(`tool-${other}`).setAttribute("aria-pressed", other === name);
  element("view").dataset.tool = name;
  element("brush-row").hidden = !brushes();
  showTip(null);
  tell("tool");
}

// Plus and minus stay on until they are pressed again; Shift and Alt act for one click.
function chooseHow(how) {
  session.how = session.how === how ? "new" : how;
  for (const other of ["plus", "minus"]) element(`how-${other}`).setAttribute("aria-pressed", other === session.how);
}

const howOf = (event) => (event.altKey ? "minus" : event.shiftKey ? "plus" : session.how);

export const brushes = () => session.tool === "brush" || session.tool === "eraser";

// The radius of brush and eraser in pixels of the working grid.
export function resize(radius) {
  session.brush = Math.min(SIZES[1], Math.max(SIZES[0], radius));
  element("brush-size").value = session.brush;
  element("brush-tip").setAttribute("r", session.brush);
}

export const resizeBy = (step) => resize(Math.round(session.brush * (step > 0 ? 1.25 : 0.8) + step * 0.5));

// The ring that shows what the brush would touch.
export function showTip(point) {
  const tip = element("brush-tip");
  tip.setAttribute("visibility", point && brushes() ? "visible" : "hidden");
  if (!point) return;
  tip.setAttribute("cx", point.x);
  tip.setAttribute("cy", point.y);
  if (corners.length) showCorners(point);
}

// What begins with a press: `move` and `end` come with the pointer, `cancel` when a second finger turns it into a pinch.
export function gesture(event) {
  if (session.tool === "pick") return picking(event);
  return session.tool === "polygon" ? cornering(event) : brushing(event);
}

const inside = ({ x, y }, { width, height }) => x >= 0 && y >= 0 && x < width && y < height;

const pixel = ({ x, y }, { width, height }) =>
  Math.min(height - 1, Math.max(0, Math.floor(y))) * width + Math.min(width - 1, Math.max(0, Math.floor(x)));

function picking(event) {
  const item = session.current;
  const { planes } = item;
  const first = gridPoint(event);
  const how = howOf(event);
  let dragged = false;
  return {
    move(moved) {
      dragged ||= Math.hypot(moved.clientX - event.clientX, moved.clientY - event.clientY) > DRAG;
      if (dragged) rubber(boxOf(planes, first, gridPoint(moved)));
    },
    end(ended) {
      rubber(null);
      if (!dragged) {
        if (inside(first, planes)) pick(item, pixel(first, planes), how);
        return;
      }
      const [left, top, right, bottom] = boxOf(planes, first, gridPoint(ended));
      const [across, down] = [item.width / planes.width, item.height / planes.height];
      const box = [left * across, top * down, right * across, bottom * down];
      pickBox(item, box, how).catch((error) => toast(error.message, { bad: true }));
    },
    cancel: () => rubber(null),
  };
}

// Whole pixels between two points, within the picture.
function boxOf(planes, first, last) {
  const [a, b] = [pixel(first, planes), pixel(last, planes)];
  const [xa, xb] = [a % planes.width, b % planes.width].sort((p, q) => p - q);
  const [ya, yb] = [Math.floor(a / planes.width), Math.floor(b / planes.width)].sort((p, q) => p - q);
  return [xa, ya, xb + 1, yb + 1];
}

function rubber(box) {
  const [left, top, right, bottom] = box ?? [0, 0, 0, 0];
  const values = { x: left, y: top, width: right - left, height: bottom - top };
  for (const [name, value] of Object.entries(values)) element("rubber").setAttribute(name, value);
}

function brushing(event) {
  const item = session.current;
  const { planes } = item;
  const erases = (session.tool === "eraser") !== (howOf(event) === "minus");
  const now = session.pick?.item === item ? session.pick.extent.mask : null;
  const mask = now ? now.slice() : new Uint8Array(planes.width * planes.height);
  let at = gridPoint(event);
  const touch = (to) => {
    stroke(mask, planes, at, to, session.brush, erases ? 0 : 1);
    at = to;
    light("pick", { ids: mask, id: 1, box: [0, 0, planes.width, planes.height] });
  };
  touch(at);
  return {
    move: (moved) => touch(gridPoint(moved)),
    end: () => (now || !erases) && draw(item, mask),
    cancel: () => light("pick", now && { ids: now, id: 1, box: measured(now, planes.width).box }),
  };
}

function cornering(event) {
  const point = gridPoint(event);
  return {
    move() {},
    end() {
      const [first] = corners;
      const reach = (CLOSES * session.current.planes.width) / element("picture").clientWidth;
      if (corners.length >= 3 && Math.hypot(point.x - first.x, point.y - first.y) <= reach) closePolygon();
      else {
        if (!first) meant = howOf(event);
        corners.push(point);
        showCorners(point);
      }
    },
    cancel() {},
  };
}

// Joins the corners; true where there were enough of them.
export function closePolygon() {
  if (corners.length < 3) return false;
  const mask = polygonMask(corners, session.current.planes);
  dropCorners();
  change(session.current, mask, meant);
  return true;
}

// Drops the corners, or the last one alone; true where there was one.
export function dropCorners(last = false) {
  const had = corners.length > 0;
  corners = last ? corners.slice(0, -1) : [];
  showCorners(corners.at(-1));
  return had;
}

function showCorners(tip) {
  const points = corners.length ? [...corners, tip] : [];
  element("polygon").setAttribute("points", points.map(({ x, y }) => `${x},${y}`).join(" "));
  const dots = corners.map(({ x, y }) => `M${x} ${y}h0`);
  element("polygon-corners").setAttribute("d", dots.join(""));
}
