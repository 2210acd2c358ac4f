// The planes of one image: what the server sends of it, and how it is painted. Nothing here touches the page.

export const UNKNOWN = 254;
export const FULL = 65535;

// The integer that an anomaly must exceed to be unknown: `limit_of` of the server, which compares the same integers.
export const limitOf = (threshold) => Math.floor(threshold * FULL);

// What /api/images/KEY/layers sends: uint16 anomaly, regions, channels, uint8 labels, uint16 objects, before anything was
// taught.
export function planesOf(buffer, [height, width]) {
  const size = height * width;
  const wide = (place) => new Uint16Array(buffer, place * size * 2, size);
  const [anomaly, regions, channels] = [0, 1, 2].map(wide);
  const closed = new Uint8Array(buffer, size * 6, size);
  const objects = new Uint16Array(buffer.slice(size * 7)); // which may begin at an odd place
  return { height, width, anomaly, regions, channels, objects, closed, effective: anomaly, labels: closed };
}

function bytesOf(text) {
  const code = atob(text);
  const bytes = new Uint8Array(code.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = code.charCodeAt(i);
  return bytes;
}

// Runs of pixels, as patches and previews have them: how many, where each begins, how long each is.
function runsOf({ buffer }) {
  const [count] = new Uint32Array(buffer, 0, 1);
  const first = new Uint32Array(buffer, 4, count);
  return { count, first, length: new Uint32Array(buffer, 4 + 4 * count, count), end: 4 + 8 * count };
}

// Puts a patch over the planes: runs of pixels that taught classes have changed, see OpenAPI.
export function applyPatch(planes, text) {
  const bytes = bytesOf(text);
  const { count, first, length, end } = runsOf(bytes);
  const pixels = (bytes.length - end) / 3;
  const left = new Uint16Array(bytes.buffer, end, pixels);
  const labels = new Uint8Array(bytes.buffer, end + 2 * pixels, pixels);
  planes.effective = count ? planes.anomaly.slice() : planes.anomaly;
  planes.labels = count ? planes.closed.slice() : planes.closed;
  for (let run = 0, at = 0; run < count; at += length[run++]) {
    planes.effective.set(left.subarray(at, at + length[run]), first[run]);
    planes.labels.set(labels.subarray(at, at + length[run]), first[run]);
  }
}

// The mask of runs alone.
export function runsMask(text, { width, height }) {
  const mask = new Uint8Array(width * height);
  const { count, first, length } = runsOf(bytesOf(text));
  for (let run = 0; run < count; run++) mask.fill(1, first[run], first[run] + length[run]);
  return mask;
}

// Colours as one little-endian word, alpha on top.
export const word = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

// Labels, or heat, over the picture; unknown pixels in their own colour where labels are shown.
export function paint(out, planes, threshold, palette, heat) {
  const { effective, labels } = planes;
  const limit = limitOf(threshold);
  if (heat) {
    for (let i = 0; i < out.length; i++) out[i] = heat[effective[i] >> 8];
  } else {
    const unknown = palette[UNKNOWN];
    for (let i = 0; i < out.length; i++) out[i] = effective[i] > limit ? unknown : palette[labels[i]];
  }
}

// How many pixels have at least each anomaly: shares at any threshold without another look at the pixels.
export function histogram(effective) {
  const counts = new Uint32Array(FULL + 2);
  for (let i = 0; i < effective.length; i++) counts[effective[i]]++;
  for (let i = FULL; i >= 0; i--) counts[i] += counts[i + 1];
  return counts;
}

export const shareAbove = (counts, threshold) => counts[limitOf(threshold) + 1] / counts[0];

// The planes that are painted, at the size of a thumbnail.
export function shrunk({ width, height, effective, labels }, wide) {
  const high = Math.max(1, Math.round((height * wide) / width));
  const small = { width: wide, height: high, effective: new Uint16Array(wide * high), labels: new Uint8Array(wide * high) };
  for (let y = 0; y < high; y++) {
    const row = Math.floor(((y + 0.5) * height) / high) * width;
    for (let x = 0; x < wide; x++) {
      const from = row + Math.floor(((x + 0.5) * width) / wide);
      small.effective[y * wide + x] = effective[from];
      small.labels[y * wide + x] = labels[from];
    }
  }
  return small;
}

// From nothing to white over violet, red and yellow; what is ordinary stays clear.
export function heatPalette() {
  const stops = [
    [0, 20, 12, 60, 0], [0.3, 92, 22, 110, 0.3], [0.5, 190, 55, 84, 0.55], [0.75, 249, 142, 9, 0.66], [1, 252, 255, 164, 0.74],
  ];
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const value = i / 255;
    const next = Math.max(1, stops.findIndex((stop) => stop[0] >= value));
    const [a, b] = [stops[next - 1], stops[next]];
    const part = (value - a[0]) / (b[0] - a[0]);
    const mix = (k) => a[k] + (b[k] - a[k]) * part;
    return word(Math.round(mix(1)), Math.round(mix(2)), Math.round(mix(3)), Math.round(mix(4) * 255));
  });
}
