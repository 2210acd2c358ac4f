// One group of `discover` in the gallery: its regions, and the name that teaches them.

import { Refused } from "./api.js";
import { pictures } from "./gallery.js";
import { change } from "./session.js";

const SHOWN = 12;

function make(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

export function groupRow(group) {
  const without = new Set();
  const tiles = make("div", { className: "tiles" }, ...group.rows.slice(0, SHOWN).map((row, i) => tile(row, i, without)));
  const figures = `${group.regions} regions in ${group.images} images, anomaly ${group.anomaly.toFixed(2)}, most like ${group.nearest.join(", ")}`;
  const said = make("p", { className: "note", textContent: group.name ? `Taught as ${group.name}.` : figures });
  said.setAttribute("role", "status");
  const row = make("li", { className: "group" }, tiles, make("div", {}, nameForm(group, without, said), said));
  row.dataset.group = group.key;
  return row;
}

function tile(row, i, without) {
  const image = make("img", { alt: "" });
  image.dataset.from = `api/regions/${row}`;
  const button = make("button", { type: "button", title: "Leave this region out" }, image);
  button.setAttribute("aria-label", `Region ${i + 1}: leave it out`);
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    if (!without.delete(row)) without.add(row);
    button.setAttribute("aria-pressed", without.has(row));
  });
  return button;
}

function nameForm(group, without, said) {
  const name = make("input", { maxLength: 64, autocomplete: "off", spellcheck: false, placeholder: "name", value: group.name ?? "" });
  name.setAttribute("list", "names");
  name.setAttribute("aria-label", `Name of group ${group.key}`);
  const form = make("form", { className: "group-form" }, make("strong", { textContent: `Group ${group.key}` }), name, make("button", { className: "primary", textContent: "Teach" }));
  const force = make("button", { type: "button", textContent: "Teach it anyway", hidden: true });
  force.addEventListener("click", () => teach(true));
  form.append(force);
  if (group.name) form.append(undoButton(said));
  if (group.parts.length) form.append(splitButton(group));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    teach(false);
  });

  async function teach(forced) {
    const called = name.value.trim();
    if (!called || form.classList.contains("busy")) return;
    form.classList.add("busy");
    said.textContent = `Learning ${called} from at most ${group.exemplars} regions …`;
    try {
      await change("groups/learn", { group: group.key, name: called, without: [...without], force: forced });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      said.textContent = error.message;
      force.hidden = !error.lesson;
    } finally {
      form.classList.remove("busy");
    }
  }
  return form;
}

function undoButton(said) {
  const button = make("button", { type: "button", className: "quiet", textContent: "Undo", title: "Take the last change of the world back" });
  button.addEventListener("click", () => change("undo", {}).catch((error) => (said.textContent = error.message)));
  return button;
}

function splitButton(group) {
  const button = make("button", { type: "button", className: "quiet", textContent: "Split", title: "Show it as two groups" });
  button.addEventListener("click", () => {
    button.closest("li").replaceWith(...group.parts.map(groupRow));
    pictures();
  });
  return button;
}
