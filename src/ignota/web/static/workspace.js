// What is there again after a reload: files in the browser's own store, and what was selected and how it was seen.

import { enter, itemFor } from "./opening.js";
import { noted, recall } from "./picking.js";
import { on, session, tell } from "./session.js";
import { toast } from "./toasts.js";

const NOTE = "ignota-workspace";
const PAUSE = 250;
let later = 0;
let store = null;
let full = false;

// Asks IndexedDB; resolves to null where the browser keeps nothing, as in some private windows.
const opening = new Promise((resolve) => {
  try {
    const request = indexedDB.open("ignota", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("files", { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  } catch {
    resolve(null);
  }
});

function run(mode, act) {
  return new Promise((resolve, reject) => {
    const transaction = store.transaction("files", mode);
    const request = act(transaction.objectStore("files"));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

// Once when it is added, once when the server knows it.
async function keep(item) {
  const { id, name, file, key, width, height, planes } = item;
  if (item.kept !== undefined && item.kept === key) return;
  const known = key ? { key, width, height, grid: [planes.height, planes.width] } : null;
  item.kept = key;
  try {
    await run("readwrite", (files) => files.put({ id, name, file, known }));
  } catch {
    if (!full) toast("The browser has no room for more pictures: what is open now will not all be here after a reload.", { bad: true });
    full = true;
  }
}

// Opens again what was open, the image that was shown first.
export async function startWorkspace() {
  const note = read();
  store = await opening;
  const rows = store ? await run("readonly", (files) => files.getAll()).catch(() => []) : [];
  if (store) {
    on("added", keep);
    on("brought", keep);
    on("removed", ({ id }) => run("readwrite", (files) => files.delete(id)).catch(() => {}));
  }
  settle(note);
  session.wanted = rows.some(({ id }) => id === note.current) ? note.current : null;
  const items = rows.map((row) => Object.assign(itemFor(row), { kept: row.known?.key, view: note.views?.[row.id] ?? null }));
  enter(items.sort((a, b) => (b.id === note.current) - (a.id === note.current)));
  on("current", () => {
    if (!note.pick || session.current?.id !== note.current) return;
    recall(session.current, note.pick);
    note.pick = null;
  });
  for (const what of ["current", "view", "threshold", "pick", "moved", "named", "removed"]) on(what, soon);
  addEventListener("pagehide", write);
}

function settle({ view, regions, threshold }) {
  if (["labels", "heat", "none"].includes(view)) session.view = view;
  if (typeof regions === "boolean") session.regions = regions;
  if (threshold >= 0 && threshold <= 1) session.threshold = threshold;
  tell("settled");
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(NOTE)) ?? {};
  } catch {
    return {};
  }
}

function soon() {
  clearTimeout(later);
  later = setTimeout(write, PAUSE);
}

function write() {
  clearTimeout(later);
  const { current, pick, view, regions, threshold, wanted } = session;
  if (wanted !== null) return; // not all is back yet
  const views = Object.fromEntries(session.items.filter((item) => item.view?.zoom > 1).map((item) => [item.id, item.view]));
  const note = { current: current?.id ?? null, view, regions, threshold, views, pick: pick && noted(pick) };
  try {
    localStorage.setItem(NOTE, JSON.stringify(note));
  } catch {} // no room, or none allowed
}
