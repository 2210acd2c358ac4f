// What a class would cover if the pick were learnt now: asked for while the hand rests, hatched over every image.

import { Refused, post } from "./api.js";
import { light } from "./light.js";
import { measured, pack, shares } from "./masks.js";
import { again } from "./opening.js";
import { runsMask } from "./planes.js";
import { itemOf, on, opened, session, tell } from "./session.js";
import { percent, summary } from "./summary.js";

const text = document.getElementById("preview");
const RESTS = 400;
const NAMELESS = "new class";
let later = 0;
let asking = null;

export function startPreview() {
  on("pick", () => {
    text.hidden = !session.writable;
    text.textContent = "…"; // its room is taken before the answer is there
    show({});
    soon();
  });
  on("named", soon);
  on("current", () => light("preview", session.current?.preview ?? null));
}

function soon() {
  clearTimeout(later);
  asking?.abort();
  if (session.pick && session.writable) later = setTimeout(ask, RESTS);
}

async function ask() {
  const { pick } = session;
  asking = new AbortController();
  const { signal } = asking;
  try {
    for (let left = opened().map((item) => item.key), covered = {}; left; ) {
      const told = await again(pick.item, () => post("api/preview", { ...lesson(pick), relabel: left }, signal));
      if (signal.aborted) return;
      covered = { ...covered, ...told.covered };
      show(covered);
      say(`${describe(pick)}${conflicts(told.conflicts)}`);
      left = told.left.length ? told.left : null;
    }
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Refused)) throw error;
    show({});
    say(error.message);
  }
}

function say(line) {
  text.textContent = line;
  tell("previewed");
}

// What is to be learnt, as the server asks for it.
export function lesson(pick) {
  const { width, height } = pick.item.planes;
  return {
    name: pick.name.trim() || NAMELESS,
    examples: [pick.mark(pick.extent)],
    against: pick.against.map((mask) => ({ image: pick.item.key, rle: pack(mask, width, height) })),
  };
}

// Hands every image the mask that the class would cover in it; none where there is none.
function show(covered) {
  const before = session.items.filter((item) => item.preview);
  for (const item of before) item.preview = null;
  const now = Object.entries(covered).map(([key, runs]) => [itemOf(key), runs]).filter(([item]) => item?.planes);
  for (const [item, runs] of now) {
    const ids = runsMask(runs, item.planes);
    const { area, box } = measured(ids, item.planes.width);
    if (area) item.preview = { ids, id: 1, box };
  }
  light("preview", session.current?.preview ?? null);
  for (const item of new Set([...before, ...now.map(([item]) => item)])) tell("thumbnail", item);
}

function describe({ item, extent }) {
  const covered = item.preview?.ids ?? new Uint8Array(extent.mask.length);
  const others = opened().filter((other) => other !== item && other.preview).length;
  return summary(shares(covered, extent.mask), others);
}

function conflicts(told) {
  const most = Object.entries(told).sort((a, b) => b[1] - a[1]).slice(0, 2).filter(([, share]) => share >= 0.01);
  return most.length ? `; takes ${most.map(([name, share]) => `${percent(share)} of ${name}`).join(", ")}` : "";
}
