// Puts the page together: buttons, keys, theme.

import { blob, get } from "./api.js";
import { act, startClasses } from "./classes.js";
import { startExamples } from "./examples.js";
import { startGallery } from "./gallery.js";
import { startLight } from "./light.js";
import { leave, startNaming } from "./naming.js";
import { acceptDrops, add, select } from "./opening.js";
import { partsOf, pick, redo, takeBack, widen } from "./picking.js";
import { startPointing } from "./pointing.js";
import { startPreview } from "./preview.js";
import { adopt, catchUp, on, opened, session, tell } from "./session.js";
import { pointAt, startStage } from "./stage.js";
import { ordered, startStrip } from "./strip.js";
import { toast } from "./toasts.js";
import { choose, closePolygon, dropCorners, resizeBy, startTools } from "./tools.js";
import { fit, startView, zoom } from "./view.js";
import { startWorkspace } from "./workspace.js";

const element = (id) => document.getElementById(id);
const EXPORTED_AT_ONCE = 64;
let walked = -1;

function setView(view) {
  session.view = session.view === view ? "none" : view;
  showSettings();
  tell("view");
}

function toggleRegions() {
  session.regions = !session.regions;
  showSettings();
  tell("view");
}

function setThreshold() {
  session.threshold = Number(element("threshold").value);
  showSettings();
  tell("threshold");
}

function showSettings() {
  for (const name of ["labels", "heat"]) element(`view-${name}`).setAttribute("aria-pressed", session.view === name);
  element("view-regions").setAttribute("aria-pressed", session.regions);
  element("threshold").value = session.threshold;
  element("threshold-value").textContent = session.threshold.toFixed(2);
}

function step(by) {
  const order = ordered().filter((item) => item.planes);
  const at = order.indexOf(session.current) + by;
  if (order[at]) select(order[at]);
}

function nextUnknown() {
  if (!session.current) return;
  const { kept } = partsOf(session.current);
  walked = kept.length ? (walked + 1) % kept.length : -1;
  pointAt(kept[walked]);
}

// Closes a polygon, goes on to the name of a pick, or picks what U went to.
function enterKey() {
  if (closePolygon()) return;
  const part = session.current && partsOf(session.current).kept[walked];
  if (session.pick) element("name").focus();
  else if (part) pick(session.current, part.point);
}

function escape() {
  if (!dropCorners()) leave();
}

// Takes back what was drawn, and what the world was taught where nothing is drawn.
function undo() {
  if (!dropCorners(true) && !takeBack()) act("undo", {});
}

async function save() {
  const keys = opened().map((item) => item.key);
  element("export").disabled = true;
  try {
    for (let i = 0; i < keys.length; i += EXPORTED_AT_ONCE) {
      const images = keys.slice(i, i + EXPORTED_AT_ONCE);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await blob("api/export", { images, threshold: session.threshold }));
      link.download = keys.length > EXPORTED_AT_ONCE ? `ignota-${i / EXPORTED_AT_ONCE + 1}.zip` : "ignota.zip";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    }
  } catch (error) {
    toast(error.message, { bad: true });
  }
  element("export").disabled = false;
}

function turnTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = localStorage.getItem("ignota-theme") ?? (dark ? "dark" : "light");
  localStorage.setItem("ignota-theme", now === "dark" ? "light" : "dark");
  applyTheme();
}

function applyTheme() {
  document.documentElement.style.colorScheme = localStorage.getItem("ignota-theme") ?? "light dark";
}

// Those that work while a name is asked for and nothing is typed yet.
const PICK_KEYS = {
  "+": () => zoom(1),
  "=": () => zoom(1),
  "-": () => zoom(-1),
  0: fit,
  ",": () => widen(-1),
  ".": () => widen(1),
  "[": () => resizeBy(-1),
  "]": () => resizeBy(1),
};

const KEYS = {
  ...PICK_KEYS,
  l: () => setView("labels"),
  h: () => setView("heat"),
  r: toggleRegions,
  u: nextUnknown,
  v: () => choose("pick"),
  p: () => choose("polygon"),
  b: () => choose("brush"),
  e: () => choose("eraser"),
  "?": () => element("keys").showModal(),
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  Backspace: () => dropCorners(true),
  Enter: enterKey,
};

function key(event) {
  if (document.querySelector("dialog[open]")) return;
  const unnamed = event.target.id === "name" && !event.target.value;
  const named = event.target.id === "name" && !unnamed;
  const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (named || !["z", "y"].includes(pressed)) return;
    event.preventDefault();
    if (pressed === "y" || event.shiftKey) redo();
    else undo();
  } else if (pressed === "Escape") {
    escape();
  } else if (unnamed && PICK_KEYS[pressed]) {
    event.preventDefault();
    PICK_KEYS[pressed]();
  } else if (!event.altKey && !event.target.matches("input, select, textarea")) {
    if (pressed === "Enter" && event.target.matches("button")) return;
    if (pressed === "Enter" && session.pick) event.preventDefault(); // the name is only gone to
    KEYS[pressed]?.();
  }
}

function wire() {
  const click = (id, act) => element(id).addEventListener("click", act);
  click("view-labels", () => setView("labels"));
  click("view-heat", () => setView("heat"));
  click("view-regions", toggleRegions);
  click("undo", () => act("undo", {}));
  click("export", save);
  for (const id of ["add", "choose"]) click(id, () => element("files").click());
  click("choose-folder", () => element("folder").click());
  click("theme", turnTheme);
  click("help", () => element("keys").showModal());
  for (const id of ["files", "folder"]) {
    element(id).addEventListener("change", (event) => {
      add([...event.target.files]);
      event.target.value = "";
    });
  }
  element("threshold").addEventListener("input", setThreshold);
  addEventListener("keydown", key);
  addEventListener("focus", () => catchUp().catch(() => {}));
  on("current", () => (walked = -1));
  on("settled", showSettings);
  on("classes", () => (element("undo").disabled = session.state === 0 || !session.writable));
}

async function start() {
  applyTheme();
  startView(); // the picture has its place before anything is drawn over it
  startLight();
  startStage();
  startTools();
  startPointing();
  startPreview(); // its line is part of the card before that is placed
  startNaming();
  startClasses();
  startStrip();
  startExamples();
  wire();
  acceptDrops(element("drop"));
  try {
    const told = await get("api/classes");
    session.writable = told.writable;
    element("world").textContent = told.writable ? told.world : `${told.world}, read-only`;
    document.title = `${told.world} · Ignota`;
    adopt(told);
    await startGallery();
    await startWorkspace();
  } catch (error) {
    toast(error.status === 401 ? "Open the link that the server printed: it contains the token." : error.message, { bad: true });
  }
}

start();
