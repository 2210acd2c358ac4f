// The lists beside the picture, and the dialog in which a taught class is changed.

import { get } from "./api.js";
import { limitOf } from "./planes.js";
import { partsOf, pick } from "./picking.js";
import { review, startReview } from "./review.js";
import { change, nameOf, on, session, tell } from "./session.js";
import { pointAt } from "./stage.js";
import { toast } from "./toasts.js";

const element = (id) => document.getElementById(id);
const MOST = 7;
let edited = null;

export function startClasses() {
  startReview();
  on("classes", showClasses);
  on("outlined", showUnknown);
  on("current", () => !session.current && showUnknown());
  on("undo", () => act("undo", {}));
  element("edit-review").addEventListener("click", () => {
    element("edit").close();
    review(edited).catch((error) => toast(error.message, { bad: true }));
  });
  element("edit-form").addEventListener("submit", (event) => save(event.submitter?.value));
}

function make(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

function dot(colour) {
  const made = make("i", { className: "dot" });
  made.style.backgroundColor = colour;
  return made;
}

// Any change, its refusal as a message; true when it is done.
export async function act(path, body) {
  try {
    const told = await change(path, body);
    toast(`${told.done[0].toUpperCase()}${told.done.slice(1)}.`, path === "undo" ? {} : { action: "Undo", act: () => tell("undo") });
    return true;
  } catch (error) {
    toast(error.message, { bad: true });
    return false;
  }
}

function showClasses() {
  const taught = session.classes.filter((label) => label.taught);
  const known = session.classes.filter((label) => !label.taught);
  element("taught").replaceChildren(...taught.map(taughtRow));
  element("known").replaceChildren(...known.map((label) => make("li", {}, dot(label.colour), make("span", { textContent: label.name }), make("b", { id: `share-${label.id}` }))));
  element("taught-count").textContent = taught.length || "";
  element("known-count").textContent = known.length;
  element("taught-note").hidden = taught.length > 0;
  element("calibration").textContent = session.calibration && `Calibrated: ${session.calibration}.`;
  showShares();
}

function taughtRow(label) {
  const { name, thumbnail, examples, colour } = label;
  const picture = thumbnail ? make("img", { src: thumbnail, alt: "" }) : make("span", { className: "blank" });
  const count = `${examples} example${examples === 1 ? "" : "s"}`;
  const text = make("span", { className: "text" }, make("strong", { textContent: name }), make("small", {}, dot(colour), count));
  const open = make("button", { type: "button", className: "row", title: `Rename, recolour or merge ${name}` }, picture, text, make("b", { id: `share-${label.id}` }));
  open.addEventListener("click", () => edit(label));
  const forget = make("button", { type: "button", className: "forget", textContent: "×", title: `Forget ${name}` });
  forget.setAttribute("aria-label", `Forget ${name}`);
  forget.addEventListener("click", () => act("forget", { name }));
  return make("li", {}, open, forget);
}

// How much of the picture each class covers.
function showShares() {
  const planes = session.current?.planes;
  const counts = new Uint32Array(256);
  if (planes) {
    const limit = limitOf(session.threshold);
    for (let i = 0; i < planes.labels.length; i++) if (planes.effective[i] <= limit) counts[planes.labels[i]]++;
  }
  for (const { id } of session.classes) {
    const share = planes ? (100 * counts[id]) / planes.labels.length : 0;
    const place = element(`share-${id}`);
    if (place) place.textContent = share >= 0.05 ? `${share.toFixed(share < 10 ? 1 : 0)} %` : "";
  }
}

function showUnknown() {
  const item = session.current;
  const kept = item ? partsOf(item).kept : [];
  element("unknown-count").textContent = item ? kept.length : "";
  element("unknown-note").hidden = kept.length > 0 && kept.length <= MOST;
  element("unknown-note").textContent = !item
    ? "Open an image to see what is unknown in it."
    : kept.length
      ? `and ${kept.length - MOST} smaller ones`
      : "Nothing lies above the threshold: lower it, or click anything.";
  element("unknowns").replaceChildren(...kept.slice(0, MOST).map((part, i) => unknownRow(item, part, i)));
  showShares();
}

function unknownRow(item, part, i) {
  const share = Math.max(0.1, (100 * part.area) / item.planes.labels.length).toFixed(1);
  const meter = make("span", { className: "meter" });
  meter.style.setProperty("--value", part.score);
  const row = make(
    "button",
    { type: "button", className: "row" },
    make("span", { className: "number", textContent: i + 1 }),
    make("span", { className: "text" }, make("span", { textContent: `like ${nameOf(part.nearest)}` }), meter),
    make("b", { textContent: `${share} %` }),
  );
  row.setAttribute("aria-label", `Unknown region ${i + 1}, most like ${nameOf(part.nearest)}, ${share} percent of the picture`);
  row.addEventListener("click", () => pick(item, part.point));
  for (const type of ["pointerenter", "focus"]) row.addEventListener(type, () => pointAt(part));
  for (const type of ["pointerleave", "blur"]) row.addEventListener(type, () => pointAt(null));
  return make("li", {}, row);
}

async function edit(label) {
  edited = label;
  element("edit-title").textContent = label.name;
  element("edit-name").value = label.name;
  element("edit-colour").value = label.colour;
  const others = session.classes.filter((other) => other.taught && other.name !== label.name);
  element("edit-merge").replaceChildren(new Option("no other class", ""), ...others.map((other) => new Option(other.name)));
  element("edit-merge-row").hidden = others.length === 0;
  element("edit-exemplars").replaceChildren();
  element("edit").showModal();
  const cards = await get(`api/exemplars?name=${encodeURIComponent(label.name)}`).catch(() => []);
  const rows = cards.map((card) => {
    const against = card.given === "not";
    const text = `${against ? "not this: " : ""}${card.source || "no name"}, ${card.at.slice(0, 10)}`;
    return make("li", { title: text, className: against ? "against" : "" }, make("img", { src: card.thumbnail ?? "", alt: text }));
  });
  element("edit-exemplars").replaceChildren(...rows);
}

async function save(button) {
  const { name, colour } = edited;
  if (button === "forget") await act("forget", { name });
  if (button !== "save") return;
  const into = element("edit-merge").value;
  if (into) {
    await act("merge", { name, into });
    return;
  }
  if (element("edit-colour").value !== colour && !(await act("recolour", { name, colour: element("edit-colour").value }))) return;
  const wanted = element("edit-name").value.trim();
  if (wanted && wanted !== name) await act("rename", { name, new: wanted });
}
