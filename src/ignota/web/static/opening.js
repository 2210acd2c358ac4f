// Files and folders, dropped or chosen, and their way to the server and back.

import { Refused, buffer, segment } from "./api.js";
import { catchUp, itemOf, on, receive, session, tell } from "./session.js";
import { toast } from "./toasts.js";

const PICTURE = /\.(jpe?g|png|webp|bmp|tiff?|gif|ppm|avif)$/i;
const AT_ONCE = 2;
const waiting = [];
let working = 0;

// Adds what can be a picture; the first one is shown as soon as it is back.
export function add(files) {
  const fit = files.filter((file) => PICTURE.test(file.name) || file.type.startsWith("image/"));
  if (!fit.length && files.length) toast("None of these files is a picture.", { bad: true });
  const known = new Set(session.items.map(({ name, file }) => `${name} ${file.size}`));
  for (const file of fit) {
    const name = file.webkitRelativePath || file.path || file.name;
    if (known.has(`${name} ${file.size}`)) continue;
    const item = { file, name, url: URL.createObjectURL(file), status: "waiting" };
    session.items.push(item);
    waiting.push(item);
  }
  tell("items");
  pump();
}

export function remove(item) {
  session.items = session.items.filter((other) => other !== item);
  URL.revokeObjectURL(item.url);
  if (session.current === item) select(session.items.find((other) => other.planes) ?? null);
  tell("items");
}

export function select(item) {
  if (item && !item.planes) return;
  session.current = item;
  tell("current");
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
    const seen = await segment(item.file, item.name);
    const twin = itemOf(seen.image);
    if (twin && twin !== item) {
      remove(item);
      return;
    }
    receive(item, await buffer(`api/images/${seen.image}/layers`), seen);
    item.status = "open";
    if (!session.current) select(item);
    if (seen.state !== session.state) await catchUp(true);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    Object.assign(item, { status: "failed", problem: error.message });
    toast(`${item.name}: ${error.message}`, { bad: true });
  }
  tell("items");
}

// Images that the server has closed are sent again.
on("lost", (items) => {
  waiting.push(...items);
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
