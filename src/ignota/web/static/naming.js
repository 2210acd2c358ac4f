// The card beside a pick: how far it reaches, its name, and what speaks against learning it.

import { Refused } from "./api.js";
import { keepCard, placeCard, startCard } from "./card.js";
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
  on("moved", () => session.pick && placeCard(session.pick, false));
  on("previewed", keepCard);
  startCard();
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
  if (fresh) placeCard(pick, true);
  else keepCard();
  if (fresh && session.tool === "pick") element("name").focus({ preventScroll: true });
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
  keepCard();
  element("force").focus();
}
