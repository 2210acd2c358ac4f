// Arithmetic on one image: planes, labels, unknown regions, outlines. Nothing here touches the page.

export const UNKNOWN = 254;
const FULL = 65535;

// The planes that /api/images/KEY/layers sends: uint16 anomaly, regions, channels, then uint8 labels.
export function planesOf(buffer, [height, width]) {
  const size = height * width;
  const wide = (place) => new Uint16Array(buffer, place * size * 2, size);
  return {
    height, width, anomaly: wide(0), regions: wide(1), channels: wide(2), closed: new Uint8Array(buffer, size * 6, size),
    effective: null, labels: null,
  };
}

// What taught classes make of the planes; taught: [region, class id, anomaly that is left].
export function applyTaught(planes, taught) {
  const { anomaly, closed, regions } = planes;
  if (!taught.length) {
    planes.effective = anomaly;
    planes.labels = closed;
    return;
  }
  const owner = new Int16Array(FULL + 1).fill(-1);
  const level = new Uint16Array(FULL + 1);
  for (const [region, id, left] of taught) {
    owner[region] = id;
    level[region] = Math.round(left * FULL);
  }
  const effective = anomaly.slice();
  const labels = closed.slice();
  for (let i = 0; i < regions.length; i++) {
    const id = owner[regions[i]];
    if (id < 0) continue;
    labels[i] = id;
    if (level[regions[i]] < effective[i]) effective[i] = level[regions[i]];
  }
  planes.effective = effective;
  planes.labels = labels;
}

// Colours as one little-endian word, alpha on top.
export const word = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

// Labels, or heat, over the picture; unknown pixels in their own colour where labels are shown.
export function paint(out, planes, threshold, palette, heat) {
  const { effective, labels } = planes;
  const limit = threshold * FULL;
  if (heat) {
    for (let i = 0; i < out.length; i++) out[i] = heat[effective[i] >> 8];
  } else {
    const unknown = palette[UNKNOWN];
    for (let i = 0; i < out.length; i++) out[i] = effective[i] > limit ? unknown : palette[labels[i]];
  }
}

// How many pixels have each anomaly, in 1024 steps: shares at any threshold without another look at the pixels.
export function histogram(effective) {
  const counts = new Float64Array(1025);
  for (let i = 0; i < effective.length; i++) counts[effective[i] >> 6]++;
  for (let i = 1023; i >= 0; i--) counts[i] += counts[i + 1];
  return counts.map((count) => count / effective.length);
}

export const shareAbove = (shares, threshold) => shares[Math.min(1024, Math.ceil((threshold * FULL) / 64))];

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

// Unknown regions, the largest first; specks below `smallest` of the image are left out.
export function components(planes, threshold, smallest = 0.0003) {
  const { effective, width, height } = planes;
  const limit = threshold * FULL;
  const ids = new Int32Array(width * height);
  const inside = (i) => effective[i] > limit;
  const list = [];
  const stack = [];
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] || effective[i] <= limit) continue;
    list.push(flood(ids, width, height, inside, i, list.length + 1, stack));
  }
  const kept = list.filter((part) => part.area >= smallest * ids.length).sort((a, b) => b.area - a.area);
  for (const part of kept) Object.assign(part, describe(planes, ids, part));
  return { ids, kept, byId: new Map(kept.map((part) => [part.id, part])) };
}

function describe({ effective, labels, width }, ids, part) {
  const counts = new Uint32Array(256);
  let sum = 0;
  const [left, top, right, bottom] = part.box;
  for (let y = top; y < bottom; y++) {
    for (let i = y * width + left; i < y * width + right; i++) {
      if (ids[i] !== part.id) continue;
      counts[labels[i]]++;
      sum += effective[i];
    }
  }
  return { score: sum / part.area / FULL, nearest: counts.indexOf(Math.max(...counts)) };
}

// Every extent that a click at a pixel can have, each a mask, the smallest first.
export function extentsAt(planes, at, threshold, parts) {
  const { width, height, regions, channels } = planes;
  const size = width * height;
  const found = [];
  const region = new Uint8Array(size);
  for (let i = 0; i < size; i++) region[i] = regions[i] === regions[at] ? 1 : 0;
  found.push({ name: "region", text: "region between edges", mask: region });
  if (parts.ids[at] && parts.byId.has(parts.ids[at])) {
    const mask = new Uint8Array(size);
    for (let i = 0; i < size; i++) mask[i] = parts.ids[i] === parts.ids[at] ? 1 : 0;
    found.push({ name: "unknown", text: "all connected unknown", mask });
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

// Area and box of a mask.
export function measured(mask, width) {
  let area = 0;
  let [left, top, right, bottom] = [width, mask.length / width, 0, 0];
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    area++;
    const x = i % width;
    const y = (i / width) | 0;
    if (x < left) left = x;
    if (x >= right) right = x + 1;
    if (y < top) top = y;
    if (y >= bottom) bottom = y + 1;
  }
  return { area, box: [left, top, right, bottom] };
}

// The edge of whatever `inside` tells within a box, as an SVG path on the grid.
export function outline(inside, width, height, [left, top, right, bottom]) {
  const test = (x, y) => x >= 0 && y >= 0 && x < width && y < height && inside(y * width + x);
  const path = [];
  for (let y = top; y <= bottom; y++) {
    let start = -1;
    for (let x = left; x <= right; x++) {
      const edge = x < right && test(x, y) !== test(x, y - 1) && y > 0 && y < height;
      if (edge && start < 0) start = x;
      if (!edge && start >= 0) {
        path.push(`M${start} ${y}H${x}`);
        start = -1;
      }
    }
  }
  for (let x = left; x <= right; x++) {
    let start = -1;
    for (let y = top; y <= bottom; y++) {
      const edge = y < bottom && test(x, y) !== test(x - 1, y) && x > 0 && x < width;
      if (edge && start < 0) start = y;
      if (!edge && start >= 0) {
        path.push(`M${x} ${start}V${y}`);
        start = -1;
      }
    }
  }
  return path.join("");
}

// The lines between regions, as an SVG path on the grid.
export function regionLines({ regions, width, height }) {
  const path = [];
  for (let y = 1; y < height; y++) {
    let start = -1;
    for (let x = 0; x <= width; x++) {
      const edge = x < width && regions[y * width + x] !== regions[(y - 1) * width + x];
      if (edge && start < 0) start = x;
      if (!edge && start >= 0) (path.push(`M${start} ${y}H${x}`), (start = -1));
    }
  }
  for (let x = 1; x < width; x++) {
    let start = -1;
    for (let y = 0; y <= height; y++) {
      const edge = y < height && regions[y * width + x] !== regions[y * width + x - 1];
      if (edge && start < 0) start = y;
      if (!edge && start >= 0) (path.push(`M${x} ${start}V${y}`), (start = -1));
    }
  }
  return path.join("");
}

// COCO's run-length code: runs down the columns, first of zeros.
export function runsOf(mask, width, height) {
  const counts = [];
  let value = 0;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      if (mask[y * width + x] === value) run++;
      else {
        counts.push(run);
        value = 1 - value;
        run = 1;
      }
    }
  }
  counts.push(run);
  return { size: [height, width], counts };
}

// The mask of a packed code, sampled on a grid of another size.
export function maskOf({ size: [rows, columns], counts }, width, height) {
  const runs = [];
  for (let i = 0; i < counts.length; ) {
    let value = 0;
    let shift = 0;
    let bits;
    do {
      bits = counts.charCodeAt(i++) - 48;
      value |= (bits & 31) << shift;
      shift += 5;
    } while (bits & 32);
    if (bits & 16) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  const full = new Uint8Array(rows * columns);
  let at = 0;
  runs.forEach((run, i) => {
    if (i % 2) full.fill(1, at, at + run);
    at += run;
  });
  const mask = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * rows) / height);
    for (let x = 0; x < width; x++) mask[y * width + x] = full[Math.floor(((x + 0.5) * columns) / width) * rows + row];
  }
  return mask;
}

// Planes at the size of a thumbnail.
export function shrunk(planes, width) {
  const height = Math.max(1, Math.round((planes.height * width) / planes.width));
  const pick = (plane) => {
    const out = new plane.constructor(width * height);
    for (let y = 0; y < height; y++) {
      const row = Math.floor(((y + 0.5) * planes.height) / height) * planes.width;
      for (let x = 0; x < width; x++) out[y * width + x] = plane[row + Math.floor(((x + 0.5) * planes.width) / width)];
    }
    return out;
  };
  return { width, height, anomaly: pick(planes.anomaly), regions: pick(planes.regions), closed: pick(planes.closed) };
}

// From nothing to white over violet, red and yellow; what is ordinary stays clear.
export function heatPalette() {
  const stops = [[0, 20, 12, 60, 0.25], [0.3, 92, 22, 110, 0.45], [0.5, 190, 55, 84, 0.6], [0.75, 249, 142, 9, 0.75], [1, 252, 255, 164, 0.85]];
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const value = i / 255;
    const next = Math.max(1, stops.findIndex((stop) => stop[0] >= value));
    const [a, b] = [stops[next - 1], stops[next]];
    const part = (value - a[0]) / (b[0] - a[0]);
    const mix = (k) => a[k] + (b[k] - a[k]) * part;
    return word(Math.round(mix(1)), Math.round(mix(2)), Math.round(mix(3)), Math.round(mix(4) * 255));
  });
}
