// Puts the page together: buttons, keys, theme.

import { blob, get } from "./api.js";
import { act, startClasses } from "./classes.js";
import { leave, startNaming } from "./naming.js";
import { acceptDrops, add, select } from "./opening.js";
import { partsOf, widen } from "./picking.js";
import { adopt, catchUp, on, opened, session, tell } from "./session.js";
import { pick, pointAt, startStage } from "./stage.js";
import { ordered, startStrip } from "./strip.js";
import { toast } from "./toasts.js";

const element = (id) => document.getElementById(id);
const EXPORTED_AT_ONCE = 64;
let walked = -1;

function setView(view) {
  session.view = session.view === view ? "none" : view;
  for (const name of ["labels", "heat"]) element(`view-${name}`).setAttribute("aria-pressed", session.view === name);
  tell("view");
}

function toggleRegions() {
  session.regions = !session.regions;
  element("view-regions").setAttribute("aria-pressed", session.regions);
  tell("view");
}

function setThreshold() {
  session.threshold = Number(element("threshold").value);
  element("threshold-value").textContent = session.threshold.toFixed(2);
  tell("threshold");
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

function pickWalked() {
  const part = session.current && partsOf(session.current).kept[walked];
  if (part) pick(session.current, part.point);
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

const KEYS = {
  l: () => setView("labels"),
  h: () => setView("heat"),
  r: toggleRegions,
  u: nextUnknown,
  "+": () => widen(1),
  "=": () => widen(1),
  "-": () => widen(-1),
  "?": () => element("keys").showModal(),
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  Enter: pickWalked,
};

function key(event) {
  if (document.querySelector("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    if (event.target.id === "name" && event.target.value) return;
    event.preventDefault();
    act("undo", {});
  } else if (event.key === "Escape") {
    leave();
  } else if (event.target.id === "name" && !event.target.value && (event.key === "+" || event.key === "-")) {
    event.preventDefault();
    widen(event.key === "+" ? 1 : -1);
  } else if (!event.ctrlKey && !event.metaKey && !event.altKey && !event.target.matches("input, select, textarea")) {
    if (event.key === "Enter" && event.target.matches("button")) return;
    KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key]?.();
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
  on("classes", () => (element("undo").disabled = session.state === 0 || !session.writable));
}

async function start() {
  applyTheme();
  startStage();
  startNaming();
  startClasses();
  startStrip();
  wire();
  acceptDrops(element("drop"));
  try {
    const told = await get("api/classes");
    session.writable = told.writable;
    element("world").textContent = told.writable ? told.world : `${told.world}, read-only`;
    document.title = `${told.world} · Ignota`;
    adopt(told);
  } catch (error) {
    toast(error.status === 401 ? "Open the link that the server printed: it bears the token." : error.message, { bad: true });
  }
}

start();
