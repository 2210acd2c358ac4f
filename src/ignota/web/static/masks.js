// Masks on the working grid, one byte a pixel: drawn, joined, measured, packed. Nothing here touches the page.

export const union = (a, b) => a.map((value, i) => value | b[i]);

export const minus = (a, b) => a.map((value, i) => (b[i] ? 0 : value));

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

// How much of the marked pixels is covered, and how much of what is covered lies outside the mark.
export function shares(covered, marked) {
  let [both, wanted, all] = [0, 0, 0];
  for (let i = 0; i < marked.length; i++) {
    wanted += marked[i];
    all += covered[i];
    both += marked[i] & covered[i];
  }
  return { covers: both / Math.max(1, wanted), outside: all ? 1 - both / all : 0 };
}

// Sets what a round brush touches on its way between two points; the pixel under a point always is.
export function stroke(mask, { width, height }, from, to, radius, value) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const long = dx * dx + dy * dy;
  const near = Math.max(radius, 0.71);
  const first = Math.max(0, Math.floor(Math.min(from.y, to.y) - near));
  const last = Math.min(height - 1, Math.floor(Math.max(from.y, to.y) + near));
  const left = Math.max(0, Math.floor(Math.min(from.x, to.x) - near));
  const right = Math.min(width - 1, Math.floor(Math.max(from.x, to.x) + near));
  for (let y = first; y <= last; y++) {
    for (let x = left; x <= right; x++) {
      const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
      const along = long ? Math.min(1, Math.max(0, (px * dx + py * dy) / long)) : 0;
      if (Math.hypot(px - along * dx, py - along * dy) <= near) mask[y * width + x] = value;
    }
  }
}

// The inside of a polygon by the even-odd rule: pixels whose centre lies in it.
export function polygonMask(points, { width, height }) {
  const mask = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const level = y + 0.5;
    const crossings = [];
    points.forEach((a, i) => {
      const b = points[(i + 1) % points.length];
      if (a.y <= level !== b.y <= level) crossings.push(a.x + ((level - a.y) * (b.x - a.x)) / (b.y - a.y));
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const from = Math.max(0, Math.ceil(crossings[i] - 0.5));
      const to = Math.min(width, Math.ceil(crossings[i + 1] - 0.5));
      if (to > from) mask.fill(1, y * width + from, y * width + to);
    }
  }
  return mask;
}

// COCO's packed run-length code, column by column.
export function pack(mask, width, height) {
  const counts = [];
  let [run, value] = [0, 0];
  for (let x = 0; x < width; x++) {
    for (let i = x; i < mask.length; i += width) {
      if (mask[i] === value) run++;
      else {
        counts.push(run);
        [run, value] = [1, mask[i]];
      }
    }
  }
  counts.push(run);
  return { size: [height, width], counts: counts.map((count, i) => packed(i > 2 ? count - counts[i - 2] : count)).join("") };
}

function packed(number) {
  let text = "";
  for (let more = true; more; ) {
    let bits = number & 31;
    number >>= 5;
    more = bits & 16 ? number !== -1 : number !== 0;
    if (more) bits |= 32;
    text += String.fromCharCode(bits + 48);
  }
  return text;
}

// The mask of a packed code, sampled on a grid of another size.
export function unpack({ size: [rows, columns], counts }, width, height) {
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
