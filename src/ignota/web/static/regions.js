// Regions of one image: unknown ones, those that a click can mean, and their outlines as SVG paths.

import { measured } from "./masks.js";
import { FULL, limitOf } from "./planes.js";

// Connected pixels for which `inside` holds, 8-neighbours, by scan lines; ids is filled with `id`.
function flood(ids, width, height, inside, seed, id, stack) {
  let area = 0;
  let [left, top, right, bottom] = [width, height, 0, 0];
  stack.length = 0;
  stack.push(seed);
  while (stack.length) {
    const at = stack.pop();
    if (ids[at] || !inside(at)) continue;
    const y = (at / width) | 0;
    let x0 = at;
    const row = y * width;
    while (x0 > row && !ids[x0 - 1] && inside(x0 - 1)) x0--;
    let x1 = at;
    while (x1 < row + width - 1 && !ids[x1 + 1] && inside(x1 + 1)) x1++;
    for (let i = x0; i <= x1; i++) ids[i] = id;
    area += x1 - x0 + 1;
    left = Math.min(left, x0 - row);
    right = Math.max(right, x1 - row + 1);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y + 1);
    const from = Math.max(row, x0 - 1) - row;
    const to = Math.min(row + width - 1, x1 + 1) - row;
    for (const next of [y - 1, y + 1]) {
      if (next < 0 || next >= height) continue;
      let open = false;
      for (let i = next * width + from; i <= next * width + to; i++) {
        const fits = !ids[i] && inside(i);
        if (fits && !open) stack.push(i);
        open = fits;
      }
    }
  }
  return { id, area, box: [left, top, right, bottom] };
}

// All connected pixels for which `inside` holds, numbered from 1.
export function connected({ width, height }, inside) {
  const ids = new Int32Array(width * height);
  const list = [];
  const stack = [];
  for (let i = 0; i < ids.length; i++) {
    if (!ids[i] && inside(i)) list.push(flood(ids, width, height, inside, i, list.length + 1, stack));
  }
  return { ids, list };
}

// Unknown regions, the largest first; specks below `smallest` of the image are left out.
export function components(planes, threshold, smallest = 0.0003) {
  const { effective } = planes;
  const limit = limitOf(threshold);
  const { ids, list } = connected(planes, (i) => effective[i] > limit);
  const kept = list.filter((part) => part.area >= smallest * ids.length).sort((a, b) => b.area - a.area);
  for (const part of kept) Object.assign(part, describe(planes, ids, part));
  return { ids, kept, byId: new Map(kept.map((part) => [part.id, part])) };
}

// Unknown objects at the world's own threshold, the most anomalous first, less what a taught class has taken of them;
// null where the world has none.
export function objectParts(planes, smallest = 0.0003) {
  const { objects, closed, labels, width } = planes;
  const list = [];
  const ids = Int32Array.from(objects, (id, i) => (labels[i] === closed[i] ? id : 0));
  for (let i = 0; i < ids.length; i++) {
    if (!ids[i]) continue;
    const [x, y] = [i % width, (i / width) | 0];
    const part = (list[ids[i]] ??= { id: ids[i], area: 0, box: [x, y, x + 1, y + 1] });
    const [left, top, right, bottom] = part.box;
    part.area++;
    part.box = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
  }
  if (!list.length) return null;
  const kept = list.filter((part) => part && part.area >= smallest * ids.length);
  for (const part of kept) Object.assign(part, describe(planes, ids, part));
  return { ids, kept, byId: new Map(kept.map((part) => [part.id, part])), whole: true };
}

// Mean anomaly, the class most often there, and a pixel well inside.
function describe({ effective, labels, width }, ids, part) {
  const counts = new Uint32Array(256);
  let [sum, longest, point] = [0, 0, 0];
  const [left, top, right, bottom] = part.box;
  for (let y = top; y < bottom; y++) {
    for (let i = y * width + left, run = 0; i < y * width + right; i++) {
      if (ids[i] !== part.id) {
        run = 0;
        continue;
      }
      counts[labels[i]]++;
      sum += effective[i];
      if (++run > longest) [longest, point] = [run, i - (run >> 1)];
    }
  }
  return { score: sum / part.area / FULL, nearest: counts.indexOf(Math.max(...counts)), point };
}

// Every extent that a click at a pixel can have, each a mask, the smallest first.
export function extentsAt(planes, at, threshold, parts) {
  const { width, height, regions, channels } = planes;
  const size = width * height;
  const found = [];
  const region = new Uint8Array(size);
  for (let i = 0; i < size; i++) region[i] = regions[i] === regions[at] ? 1 : 0;
  found.push({ name: "region", text: "region between edges", mask: region });
  if (parts.ids[at]) {
    const mask = new Uint8Array(size);
    for (let i = 0; i < size; i++) mask[i] = parts.ids[i] === parts.ids[at] ? 1 : 0;
    found.push(parts.whole ? { name: "object", text: "whole object", mask } : { name: "unknown", text: "connected unknown", mask });
  }
  const bits = channels[at];
  if (bits) {
    const ids = new Int32Array(size);
    flood(ids, width, height, (i) => (channels[i] & bits) !== 0, at, 1, []);
    const mask = Uint8Array.from(ids);
    const union = mask.map((value, i) => value | region[i]);
    found.push({ name: "channels", text: "meta-channel region", mask }, { name: "union", text: "both regions", mask: union });
  }
  for (const extent of found) Object.assign(extent, measured(extent.mask, width));
  found.sort((a, b) => a.area - b.area);
  return found.filter((extent, i) => i === 0 || extent.area > found[i - 1].area * 1.02);
}

// The lines between pixels that `apart` tells apart within a box, as an SVG path on the grid.
export function lines(apart, width, height, [left, top, right, bottom]) {
  const path = [];
  for (let y = Math.max(1, top); y <= Math.min(bottom, height - 1); y++) {
    let start = -1;
    for (let x = left; x <= right; x++) {
      const edge = x < right && apart(y * width + x, (y - 1) * width + x);
      if (edge && start < 0) start = x;
      if (!edge && start >= 0) {
        path.push(`M${start} ${y}H${x}`);
        start = -1;
      }
    }
  }
  for (let x = Math.max(1, left); x <= Math.min(right, width - 1); x++) {
    let start = -1;
    for (let y = top; y <= bottom; y++) {
      const edge = y < bottom && apart(y * width + x, y * width + x - 1);
      if (edge && start < 0) start = y;
      if (!edge && start >= 0) {
        path.push(`M${x} ${start}V${y}`);
        start = -1;
      }
    }
  }
  return path.join("");
}

// The edge of a mask, or of one number in a map of them.
export const outline = (ids, id, { width, height }, box) =>
  lines((a, b) => (ids[a] === id) !== (ids[b] === id), width, height, box);

export const regionLines = ({ regions, width, height }) =>
  lines((a, b) => regions[a] !== regions[b], width, height, [0, 0, width, height]);
