// The folder that the server was started on: its images page by page, and the groups that `discover` found in it.

import { buffer, get } from "./api.js";
import { groupRow } from "./groups.js";
import { add, select } from "./opening.js";
import { on, session } from "./session.js";
import { toast } from "./toasts.js";

const element = (id) => document.getElementById(id);
const dialog = element("gallery");
const KINDS = { images: { path: "api/folder", count: 60 }, groups: { path: "api/groups", count: 12 } };
const PICTURES_AT_ONCE = 4;
let kind = "images";
let first = 0;
let shown = null; // what stops the pictures of the page before
let urls = [];

export async function startGallery() {
  for (const id of ["browse", "browse-first"]) element(id).addEventListener("click", open);
  element("gallery-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", clear);
  for (const name of Object.keys(KINDS)) element(`list-${name}`).addEventListener("click", () => turn(name));
  for (const name of ["order", "least", "name", "group"]) element(`folder-${name}`).addEventListener("change", () => go(0));
  element("page-back").addEventListener("click", () => go(first - KINDS[kind].count));
  element("page-on").addEventListener("click", () => go(first + KINDS[kind].count));
  on("classes", () => dialog.open && kind === "groups" && go(first));
  const [folder, groups] = await Promise.all([get("api/folder?count=1"), get("api/groups?count=1")]);
  for (const id of ["browse", "browse-first"]) element(id).hidden = !folder.total && !groups.total;
  element("choose").classList.toggle("primary", !folder.total && !groups.total);
  element("list-groups").hidden = !groups.total;
  element("images-count").textContent = folder.total.toLocaleString("en");
  element("groups-count").textContent = groups.total.toLocaleString("en");
}

function open() {
  dialog.showModal();
  go(first);
}

function turn(name) {
  kind = name;
  for (const other of Object.keys(KINDS)) element(`list-${other}`).setAttribute("aria-pressed", other === kind);
  element("filters").hidden = kind !== "images";
  go(0);
}

const query = (values) => new URLSearchParams(values).toString();

async function go(place) {
  const { path, count } = KINDS[kind];
  const wanted = kind === "images" ? Object.fromEntries(["order", "least", "name", "group"].map((name) => [name, element(`folder-${name}`).value])) : {};
  first = Math.max(0, place);
  const stop = new AbortController();
  shown?.abort();
  shown = stop;
  try {
    const told = await get(`${path}?${query({ ...wanted, first, count })}`);
    if (stop.signal.aborted) return;
    revoke();
    const number = kind === "images" ? told.matching : told.total;
    if (kind === "images") showFilters(told);
    const rows = kind === "images" ? told.images.map(cell) : told.groups.map((group) => groupRow(group));
    element("cells").className = kind === "images" ? "cells" : "group-list";
    element("cells").replaceChildren(...rows);
    element("cells").scrollTop = 0;
    element("gallery-note").textContent = number ? "" : "No image of the folder is so.";
    const last = Math.min(number, first + count);
    element("page-place").textContent = number ? `${first + 1} to ${last} of ${number.toLocaleString("en")}` : "";
    element("page-back").disabled = first === 0;
    element("page-on").disabled = last >= number;
    await pictures(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) element("gallery-note").textContent = error.message;
  }
}

function clear() {
  shown?.abort();
  revoke();
}

function revoke() {
  for (const url of urls) URL.revokeObjectURL(url);
  urls = [];
}

// Fetches what is to be seen, a few at a time; a token goes with a request, which an address in a page cannot carry.
export async function pictures(signal = shown?.signal) {
  const wanted = [...element("cells").querySelectorAll("img:not([src])")];
  const next = async () => {
    for (let image = wanted.shift(); image && !signal?.aborted; image = wanted.shift()) {
      try {
        const url = URL.createObjectURL(new Blob([await buffer(image.dataset.from)], { type: "image/jpeg" }));
        urls.push(url);
        image.src = url;
      } catch (error) {
        image.alt = error.message;
        image.classList.add("failed");
      }
    }
  };
  await Promise.all(Array.from({ length: PICTURES_AT_ONCE }, next));
}

function showFilters({ classes, groups }) {
  options("folder-name", classes.map((name) => [name, name]));
  options("folder-group", groups.map((key) => [key, `group ${key}`]));
  element("folder-name-row").hidden = classes.length === 0;
  element("folder-group-row").hidden = groups.length === 0;
}

function options(id, pairs) {
  const { value } = element(id);
  element(id).replaceChildren(new Option("any", ""), ...pairs.map(([key, text]) => new Option(text, key)));
  element(id).value = pairs.some(([key]) => key === value) ? value : "";
}

function cell({ number, name, unknown, shares, current, groups }) {
  const row = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", className: "cell", title: name });
  const image = Object.assign(document.createElement("img"), { alt: "" });
  image.dataset.from = `api/folder/${number}/thumbnail`;
  const text = Object.assign(document.createElement("span"), { className: "caption" });
  const figure = Object.assign(document.createElement("b"), { textContent: unknown === null ? "" : percent(unknown) });
  text.append(Object.assign(document.createElement("span"), { className: "name", textContent: name }), figure);
  const taught = session.classes.filter((label) => label.taught && shares[label.name]).map((label) => label.name);
  const more = [...taught, ...groups.slice(0, 3).map((key) => `group ${key}`)].join(", ");
  const line = Object.assign(document.createElement("small"), { textContent: unknown === null ? "not opened yet" : more });
  row.dataset.current = current || unknown === null;
  if (unknown !== null && !current) figure.title = "of before the last change of the world";
  button.setAttribute("aria-label", `Open ${name}${unknown === null ? "" : `, ${percent(unknown)} unknown`}`);
  button.append(image, text, line);
  button.addEventListener("click", () => fetchFile(number, name, button));
  row.append(button);
  return row;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

// Opens an image of the folder as one that was dropped.
async function fetchFile(number, name, button) {
  const there = () => session.items.find((item) => item.name === name);
  button.classList.add("busy");
  try {
    if (!there()) add([new File([await buffer(`api/folder/${number}/file`)], name)], true);
    const item = there();
    dialog.close();
    if (item.planes) select(item);
    else session.wanted = item.id;
  } catch (error) {
    button.classList.remove("busy");
    element("gallery-note").textContent = error.message;
    toast(error.message, { bad: true });
  }
}
