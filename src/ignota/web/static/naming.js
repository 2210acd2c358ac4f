// The card beside a pick: how far it reaches, its name, and what speaks against learning it.

import { Refused } from "./api.js";
import { drawCutout } from "./cutout.js";
import { shares } from "./masks.js";
import { again } from "./opening.js";
import { drop, widen } from "./picking.js";
import { lesson } from "./preview.js";
import { change, on, opened, session, tell } from "./session.js";
import { summary } from "./summary.js";
import { toast } from "./toasts.js";

const element = (id) => document.getElementById(id);
const card = element("naming");
const MARGIN = 14;

export function startNaming() {
  on("pick", ({ fresh }) => showCard(fresh));
  on("classes", listNames);
  element("smaller").addEventListener("click", () => widen(-1));
  element("larger").addEventListener("click", () => widen(1));
  element("cancel").addEventListener("click", leave);
  element("force").addEventListener("click", () => learn(true));
  element("name").addEventListener("input", () => {
    element("doubts").hidden = true;
    session.pick.name = element("name").value;
    tell("named");
  });
  element("photo").addEventListener("load", () => session.pick && drawPick(session.pick));
  card.addEventListener("submit", (event) => {
    event.preventDefault();
    learn(false);
  });
  for (const what of ["moved", "previewed"]) on(what, () => session.pick && putBeside(session.pick));
}

export function leave() {
  drop();
  element("picture").focus({ preventScroll: true });
}

function showCard(fresh) {
  const { pick } = session;
  card.hidden = !pick;
  element("doubts").hidden = true;
  if (!pick) return;
  if (fresh) element("name").value = pick.name;
  else pick.name = element("name").value;
  element("extent-name").textContent = pick.extent.text;
  element("smaller").disabled = pick.index === 0;
  element("larger").disabled = pick.index === pick.extents.length - 1;
  const pips = pick.extents.map((_, i) => {
    const pip = document.createElement("i");
    pip.classList.toggle("on", i <= pick.index);
    return pip;
  });
  element("extent-pips").replaceChildren(...pips);
  drawPick(pick);
  putBeside(pick);
  if (fresh && session.tool === "pick") element("name").focus({ preventScroll: true });
}

// Right of the pick, left of it, below or above: where it hides least of it, and never beyond the view.
function putBeside({ item, extent }) {
  const stage = element("stage").getBoundingClientRect();
  const view = element("view").getBoundingClientRect();
  const picture = element("picture").getBoundingClientRect();
  const scale = picture.width / item.planes.width;
  const [left, right] = [extent.box[0], extent.box[2]].map((side) => picture.left - view.left + side * scale);
  const [top, bottom] = [extent.box[1], extent.box[3]].map((side) => picture.top - view.top + side * scale);
  const [width, height] = [card.offsetWidth, card.offsetHeight];
  const within = (value, most) => Math.max(MARGIN, Math.min(value, most - MARGIN));
  const common = (from, to, start, end) => Math.max(0, Math.min(to, end) - Math.max(from, start));
  const places = [
    [right + MARGIN, top], [left - width - MARGIN, top], [left, bottom + MARGIN], [left, top - height - MARGIN],
  ].map(([x, y]) => [within(x, view.width - width), within(y, view.height - height)]);
  const hidden = places.map(([x, y]) => common(x, x + width, left, right) * common(y, y + height, top, bottom));
  const [x, y] = places[hidden.indexOf(Math.min(...hidden))];
  card.style.left = `${x + view.left - stage.left}px`;
  card.style.top = `${y + view.top - stage.top}px`;
}

// What is picked, cut out of the photo.
function drawPick({ item, extent }) {
  const photo = element("photo");
  const meant = { ids: extent.mask, id: 1, box: extent.box };
  if (photo.complete && photo.naturalWidth) drawCutout(element("naming-picture"), photo, item.planes, meant);
}

function listNames() {
  const names = session.classes.filter((label) => label.taught).map((label) => new Option(label.name));
  element("names").replaceChildren(...names);
}

async function learn(force) {
  const { pick } = session;
  const name = element("name").value.trim();
  if (!pick || card.classList.contains("busy")) return;
  if (!name) {
    element("name").focus();
    return;
  }
  card.classList.add("busy");
  const body = { ...lesson(pick), name, force };
  const from = performance.now();
  try {
    const told = await again(pick.item, () => change("learn", body));
    performance.measure("learn", { start: from, end: performance.now() });
    toast(`Learnt ${name}: ${outcome(name, pick, told)}.`, { action: "Undo", act: () => tell("undo") });
    leave();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.lesson) showDoubts(name, error.lesson);
    else toast(error.message, { bad: true });
  } finally {
    card.classList.remove("busy");
  }
}

// What became of the mark, and where else the class is found now.
function outcome(name, { item, extent }, { classes }) {
  const { id } = classes.find((label) => label.name === name);
  const covered = item.planes.labels.map((label) => (label === id ? 1 : 0));
  const others = opened().filter((other) => other !== item && other.planes.labels.includes(id)).length;
  return summary(shares(covered, extent.mask), others);
}

function showDoubts(name, { doubts }) {
  element("doubts-text").textContent = `“${name}” is not taught yet:`;
  const rows = doubts.map((doubt) => Object.assign(document.createElement("li"), { textContent: doubt }));
  element("doubts-list").replaceChildren(...rows);
  element("doubts").hidden = false;
  putBeside(session.pick);
  element("force").focus();
}
