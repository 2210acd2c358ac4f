"use strict";
const state = document.body.dataset.state, place = "ignota-groups-" + state;
const groups = [...document.querySelectorAll("article.group")];
const summary = document.getElementById("summary"), save = document.getElementById("export");
const partsOf = (group) => document.querySelector(`.parts[data-of="${group.dataset.key}"]`);
const input = (group) => group.querySelector("input");
const dropped = (group) => group.classList.contains("dropped");
const leftOut = (group) => [...group.querySelectorAll('.tile[aria-pressed="true"]')].map((tile) => tile.dataset.row);

function shown(group) {
  return !group.hidden && !dropped(group);
}
function nameOf(group) {
  return shown(group) ? input(group).value.trim().replace(/\s+/g, " ") : "";
}
function drop(group, on) {
  group.classList.toggle("dropped", on);
  const button = group.querySelector(".drop");
  button.setAttribute("aria-pressed", on);
  button.textContent = on ? "Take back" : "Drop";
}
function split(group, on) {
  const box = partsOf(group);
  if (!box) return;
  group.hidden = on;
  box.hidden = !on;
  for (const part of box.querySelectorAll("article")) part.hidden = !on;
}
function keep() {
  const held = groups.map((group) => [
    group.dataset.key, input(group).value, dropped(group), group.hidden && Boolean(partsOf(group)), leftOut(group),
  ]);
  try { localStorage.setItem(place, JSON.stringify(held)); } catch { /* a browser that keeps nothing for files */ }
}
function restore() {
  let held = [];
  try { held = JSON.parse(localStorage.getItem(place)) || []; } catch { return; }
  const byKey = new Map(groups.map((group) => [group.dataset.key, group]));
  for (const [key, name, off, cut, out] of held) {
    const group = byKey.get(key);
    if (!group) continue;
    input(group).value = name;
    drop(group, off);
    if (cut) split(group, true);
    for (const tile of group.querySelectorAll(".tile")) tile.setAttribute("aria-pressed", out.includes(tile.dataset.row));
  }
}
function tell() {
  const names = new Map();
  for (const group of groups) {
    const name = nameOf(group);
    group.classList.toggle("named", name !== "");
    if (name) names.set(name, [...(names.get(name) || []), group.dataset.key]);
  }
  const parts = [...names].map(([name, keys]) => (keys.length > 1 ? `${name} (groups ${keys.join(", ")})` : name));
  summary.textContent = parts.length ? `${parts.length} ${parts.length > 1 ? "classes" : "class"}: ${parts.join(", ")}` : "no group is named yet";
  save.disabled = parts.length === 0;
}
function csv() {
  const quoted = (text) => '"' + text.replaceAll('"', '""') + '"';
  const rows = groups.filter((group) => nameOf(group)).map((group) =>
    [group.dataset.key, quoted(nameOf(group)), leftOut(group).join(" "), state].join(","));
  return ["group,name,without,of", ...rows].join("\n") + "\n";
}
function changed() {
  tell();
  keep();
}
for (const group of groups) {
  input(group).addEventListener("input", changed);
  group.querySelector(".drop").addEventListener("click", () => { drop(group, !dropped(group)); changed(); });
  group.querySelector(".split")?.addEventListener("click", () => { split(group, true); changed(); });
  for (const tile of group.querySelectorAll(".tile"))
    tile.addEventListener("click", () => { tile.setAttribute("aria-pressed", tile.getAttribute("aria-pressed") !== "true"); changed(); });
}
for (const button of document.querySelectorAll(".join"))
  button.addEventListener("click", () => {
    split(groups.find((group) => group.dataset.key === button.parentElement.dataset.of), false);
    changed();
  });
save.addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "names.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
restore();
tell();
