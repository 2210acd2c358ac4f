// The filmstrip: open images, the most anomalous first.

import { LOOKS } from "./light.js";
import { UNKNOWN, paint, shareAbove } from "./planes.js";
import { remove, select } from "./opening.js";
import { on, session } from "./session.js";

const element = (id) => document.getElementById(id);
const frames = new Map();
let later = 0;

export function startStrip() {
  on("items", arrange);
  on("current", mark);
  on("item", (item) => frames.has(item) && drawThumbnail(item));
  on("thumbnail", drawThumbnail);
  on("threshold", () => {
    clearTimeout(later);
    later = setTimeout(() => {
      session.items.forEach(drawThumbnail);
      arrange();
    }, 120);
  });
}

const share = (item) => (item.shares ? shareAbove(item.shares, session.threshold) : -1);

export const ordered = () => [...session.items].sort((a, b) => share(b) - share(a));

// Puts the frames in order; existing ones are moved, not made again.
function arrange() {
  for (const item of frames.keys()) if (!session.items.includes(item)) frames.delete(item);
  const order = ordered();
  for (const item of order) if (!frames.has(item)) frames.set(item, frame(item));
  const rows = order.map((item) => frames.get(item));
  const list = element("frames");
  if (rows.length !== list.children.length || rows.some((row, i) => list.children[i] !== row)) list.replaceChildren(...rows);
  element("strip").hidden = rows.length === 0;
  element("export").disabled = !session.items.some((item) => item.key);
  for (const item of order) caption(item);
  mark();
}

function frame(item) {
  const row = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", className: "frame" });
  const canvas = Object.assign(document.createElement("canvas"), { width: 176, height: 110 });
  const text = Object.assign(document.createElement("span"), { className: "caption" });
  const name = Object.assign(document.createElement("span"), { className: "name", textContent: item.name.split("/").at(-1), title: item.name });
  text.append(name, document.createElement("b"));
  button.append(canvas, text);
  button.addEventListener("click", () => select(item));
  const close = Object.assign(document.createElement("button"), { type: "button", className: "close", textContent: "×" });
  close.setAttribute("aria-label", `Close ${item.name}`);
  close.addEventListener("click", () => remove(item));
  row.append(button, close);
  createImageBitmap(item.file, { resizeWidth: canvas.width, resizeQuality: "medium" })
    .then((bitmap) => {
      item.bitmap = bitmap;
      drawThumbnail(item);
    })
    .catch(() => {}); // a format that only the server reads
  return row;
}

function caption(item) {
  const row = frames.get(item);
  const figure = row.querySelector("b");
  row.dataset.status = item.status;
  if (item.status === "failed") row.title = item.problem;
  figure.textContent = item.shares ? `${(100 * share(item)).toFixed(1)} %` : { failed: "failed", waiting: "waiting" }[item.status] || "…";
  row.firstChild.setAttribute("aria-label", item.shares ? `${item.name}, ${figure.textContent} unknown` : `${item.name}, ${item.status}`);
}

function mark() {
  for (const [item, row] of frames) {
    const here = item === session.current;
    row.firstChild.setAttribute("aria-current", here);
    if (here) row.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

function drawThumbnail(item) {
  const canvas = frames.get(item)?.querySelector("canvas");
  if (!canvas) return;
  const pen = canvas.getContext("2d");
  const ratio = item.bitmap ? item.bitmap.height / item.bitmap.width : item.small ? item.small.height / item.small.width : 0.62;
  const high = Math.round(canvas.width * ratio);
  if (canvas.height !== high) canvas.height = high;
  pen.clearRect(0, 0, canvas.width, high);
  if (item.bitmap) pen.drawImage(item.bitmap, 0, 0, canvas.width, high);
  if (!item.small) return;
  const { width, height } = item.small;
  const layer = new OffscreenCanvas(width, height);
  const raster = new ImageData(width, height);
  const out = new Uint32Array(raster.data.buffer);
  paint(out, item.small, session.threshold, thumbnailPalette(), null);
  if (item.preview) hatch(out, item);
  layer.getContext("2d").putImageData(raster, 0, 0);
  pen.drawImage(layer, 0, 0, canvas.width, high);
}

// What a preview covers.
function hatch(out, { planes, small, preview }) {
  for (let i = 0; i < out.length; i++) {
    const [x, y] = [i % small.width, Math.floor(i / small.width)];
    const from = Math.floor(((y + 0.5) * planes.height) / small.height) * planes.width + Math.floor(((x + 0.5) * planes.width) / small.width);
    if (preview.ids[from] && (x + y) % 6 < 3) out[i] = LOOKS.preview.colour;
  }
}

// Only what is unknown or taught is coloured on a thumbnail.
function thumbnailPalette() {
  const palette = new Uint32Array(256);
  for (const { id, taught } of session.classes) if (taught) palette[id] = session.palette[id];
  palette[UNKNOWN] = session.palette[UNKNOWN];
  return palette;
}
