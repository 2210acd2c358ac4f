// Files and folders, dropped or chosen, and their way to the server and back.

import { Refused, buffer, post, segment } from "./api.js";
import { catchUp, itemOf, on, receive, session, tell } from "./session.js";
import { toast } from "./toasts.js";

const PICTURE = /\.(jpe?g|png|webp|bmp|tiff?|gif|ppm|avif)$/i;
const AT_ONCE = 2;
const waiting = [];
let working = 0;

// Adds what can be a picture; the first one is shown as soon as it is back. sure: they are pictures, whatever their names.
export function add(files, sure = false) {
  const fit = files.filter((file) => sure || PICTURE.test(file.name) || file.type.startsWith("image/"));
  const unfit = files.filter((file) => !fit.includes(file));
  if (unfit.length) refuse(unfit);
  const known = new Set(session.items.map(({ name, file }) => `${name} ${file.size}`));
  const made = [];
  for (const file of fit) {
    const name = file.webkitRelativePath || file.path || file.name;
    if (known.has(`${name} ${file.size}`)) continue;
    made.push(itemFor({ id: `${Date.now()}-${Math.random()}`, name, file }));
  }
  enter(made);
  for (const item of made) tell("added", item);
}

function refuse(files) {
  const others = files.length > 1 ? ` and ${files.length - 1} more` : "";
  const what = files.length > 1 ? "are no pictures" : "is no picture";
  toast(`${files[0].name}${others} ${what}: JPEG, PNG, WebP, BMP, TIFF, GIF, PPM and AVIF can be opened.`, { bad: true });
}

export const itemFor = (fields) => ({ ...fields, url: URL.createObjectURL(fields.file), status: "waiting" });

// Puts images into the strip and into the queue for the server.
export function enter(items) {
  session.items.push(...items);
  waiting.push(...items);
  tell("items");
  pump();
}

export function remove(item) {
  session.items = session.items.filter((other) => other !== item);
  if (waiting.includes(item)) waiting.splice(waiting.indexOf(item), 1);
  URL.revokeObjectURL(item.url);
  tell("removed", item);
  if (session.current === item) select(session.items.find((other) => other.planes) ?? null);
  tell("items");
}

export function select(item) {
  if (item?.status === "failed") retry(item);
  if (item && !item.planes) return;
  session.wanted = null;
  session.current = item;
  tell("current");
}

function retry(item) {
  item.status = "waiting";
  waiting.push(item);
  pump();
}

function pump() {
  while (working < AT_ONCE && waiting.length) {
    working++;
    const item = waiting.shift();
    bring(item).finally(() => {
      working--;
      pump();
    });
  }
}

// Sends an image and fetches its planes.
export async function bring(item) {
  item.status = "working";
  tell("items");
  try {
    const { seen, planes } = (await reopen(item)) ?? (await open(item));
    const twin = itemOf(seen.image);
    if (twin && twin !== item) {
      remove(item);
      return;
    }
    receive(item, planes, seen);
    item.status = "open";
    tell("brought", item);
    if (!session.current && session.wanted === null) select(item);
    if (session.wanted === item.id) select(item);
    if (seen.state !== session.state) await catchUp(true);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    toast(`${item.name}: ${error.message}`, { bad: true });
    if (error.status === 400) remove(item); // it is no picture, whatever it is called
    else Object.assign(item, { status: "failed", problem: error.message });
    if (session.wanted === item.id) select(session.items.find((other) => other.planes) ?? null);
  }
  tell("items");
}

async function open(item) {
  const seen = await segment(item.file, item.name);
  return { seen, planes: await buffer(`api/images/${seen.image}/layers`) };
}

// An image that may lie open still, from before a reload, need not be sent.
async function reopen({ known, name }) {
  if (!known) return null;
  try {
    const planes = await buffer(`api/images/${known.key}/layers`);
    const { patches, state } = await post("api/relabel", { images: [known.key] });
    const patch = patches[known.key];
    if (patch === undefined || planes.byteLength !== 9 * known.grid[0] * known.grid[1]) return null;
    return { seen: { ...known, image: known.key, name, state, patch }, planes };
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

// A request about an image; where the server has closed it meanwhile, it is sent again first.
export async function again(item, ask) {
  try {
    return await ask();
  } catch (error) {
    if (error.status !== 404) throw error;
    item.known = null;
    await bring(item);
    return ask();
  }
}

// Images that the server has closed are sent again.
on("lost", (items) => {
  for (const item of items) item.known = null;
  waiting.push(...items.filter((item) => !waiting.includes(item)));
  pump();
});

async function inside(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    file.path = entry.fullPath.slice(1);
    return [file];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) break;
    found.push(...batch);
  }
  found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  return (await Promise.all(found.map(inside))).flat();
}

export function acceptDrops(curtain) {
  let depth = 0;
  const shown = (count) => {
    depth = count;
    curtain.classList.toggle("shown", depth > 0);
  };
  addEventListener("dragenter", (event) => {
    event.preventDefault();
    shown(depth + 1);
  });
  addEventListener("dragleave", () => shown(Math.max(0, depth - 1)));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    shown(0);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    add(entries.length ? (await Promise.all(entries.map(inside))).flat() : files);
  });
  addEventListener("paste", (event) => add([...(event.clipboardData?.files ?? [])]));
}
