// A part of a photo with all that is not meant dimmed: what was picked, what is to be judged.

// source: the whole photo. ids, id, box: what is meant, on the working grid.
export function drawCutout(canvas, source, { width, height }, { ids, id, box: [left, top, right, bottom] }) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const side = Math.max(right - left, bottom - top) * 1.15 + 2;
  const [x, y] = [(left + right - side) / 2, (top + bottom - side) / 2];
  const scale = (source.naturalWidth ?? source.width) / width;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(source, x * scale, y * scale, side * scale, side * scale, 0, 0, canvas.width, canvas.height);
  const shot = pen.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < shot.width * shot.height; i++) {
    const column = Math.floor(x + (((i % shot.width) + 0.5) * side) / shot.width);
    const row = Math.floor(y + ((Math.floor(i / shot.width) + 0.5) * side) / shot.height);
    const out = column < 0 || row < 0 || column >= width || row >= height || ids[row * width + column] !== id;
    if (out) for (let k = 0; k < 3; k++) shot.data[4 * i + k] *= 0.4;
  }
  pen.putImageData(shot, 0, 0);
}
