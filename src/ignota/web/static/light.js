// Masks that lie over the picture: what the pointer is on, what is picked, what is ruled out, what a preview covers.

import { word } from "./planes.js";
import { on, session } from "./session.js";

const canvas = document.getElementById("light");
const pen = canvas.getContext("2d");
const STRIPE = 8;
// Each from below: colour, and of STRIPE pixels how many are painted along a diagonal.
export const LOOKS = {
  pick: { colour: word(255, 225, 77, 74), painted: STRIPE },
  preview: { colour: word(0, 232, 255, 190), painted: 3 },
  against: { colour: word(255, 59, 48, 200), painted: 3 },
  hover: { colour: word(255, 255, 255, 84), painted: STRIPE },
};
const shown = new Map();
let raster = null;
let frame = 0;

export function startLight() {
  on("current", () => {
    shown.clear();
    const planes = session.current?.planes;
    if (!planes) return;
    [canvas.width, canvas.height] = [planes.width, planes.height];
    raster = pen.createImageData(planes.width, planes.height);
  });
}

// Lights up where ids has the number id, within a box; nothing where lit is null.
export function light(name, lit) {
  if (lit) shown.set(name, lit);
  else if (!shown.delete(name)) return;
  frame ||= requestAnimationFrame(paint);
}

function paint() {
  frame = 0;
  if (!raster) return;
  const out = new Uint32Array(raster.data.buffer);
  out.fill(0);
  for (const [name, look] of Object.entries(LOOKS)) {
    const lit = shown.get(name);
    if (lit) fill(out, lit, look);
  }
  pen.putImageData(raster, 0, 0);
}

function fill(out, { ids, id, box: [left, top, right, bottom] }, { colour, painted }) {
  for (let y = top; y < bottom; y++) {
    for (let x = left, i = y * canvas.width + left; x < right; x++, i++) {
      if (ids[i] === id && (x + y) % STRIPE < painted) out[i] = colour;
    }
  }
}
