// Where a taught class is found, to be judged region by region: accepted ones become examples, rejected ones counter-examples.

import { get } from "./api.js";
import { drawCutout } from "./cutout.js";
import { pack, unpack } from "./masks.js";
import { again } from "./opening.js";
import { connected } from "./regions.js";
import { change, opened } from "./session.js";
import { toast } from "./toasts.js";

const element = (id) => document.getElementById(id);
const dialog = element("review");
const SHOWN = 12;
let judged = { label: null, found: [] };

export function startReview() {
  element("review-all").addEventListener("click", () => judged.found.forEach((one) => judge(one, "accepted")));
  element("review-none").addEventListener("click", () => judged.found.forEach((one) => judge(one, "rejected")));
  element("review-learn").addEventListener("click", learn);
  element("review-cancel").addEventListener("click", () => dialog.close());
}

export async function review(label) {
  const exemplars = await get(`api/exemplars?name=${encodeURIComponent(label.name)}`);
  const all = opened().filter((item) => item.planes).flatMap((item) => pieces(item, label, exemplars));
  all.sort((a, b) => b.doubt - a.doubt);
  judged = { label, found: all.slice(0, SHOWN) };
  element("review-title").textContent = `Is this ${label.name}?`;
  const counted = all.length > SHOWN ? `${SHOWN} of ${all.length} regions, the least certain ones.` : `${all.length} regions.`;
  element("review-note").textContent = all.length ? counted : "It is found nowhere else on the open images.";
  element("review-list").replaceChildren(...judged.found.map(card));
  count();
  dialog.showModal();
}

// Connected pixels of the class on an image, without those that it was taught from; doubt: the anomaly that is left.
function pieces(item, { id }, exemplars) {
  const { planes } = item;
  const taught = exemplars.filter((one) => one.mask && one.image_sha256.startsWith(item.key));
  const masks = taught.map((one) => unpack(one.mask, planes.width, planes.height));
  const { ids, list } = connected(planes, (i) => planes.labels[i] === id);
  const sums = list.map(() => ({ anomaly: 0, taught: 0 }));
  for (let i = 0; i < ids.length; i++) {
    if (!ids[i]) continue;
    sums[ids[i] - 1].anomaly += planes.effective[i];
    if (masks.some((mask) => mask[i])) sums[ids[i] - 1].taught++;
  }
  const fresh = list.filter((one) => one.area >= 0.0003 * ids.length && sums[one.id - 1].taught < 0.5 * one.area);
  return fresh.map((one) => ({ ...one, ids, item, doubt: sums[one.id - 1].anomaly / one.area, verdict: null }));
}

function card(one) {
  const row = document.createElement("li");
  const canvas = Object.assign(document.createElement("canvas"), { width: 144, height: 144 });
  const buttons = document.createElement("div");
  for (const [verdict, sign, text] of [["accepted", "✓", "Yes"], ["rejected", "✗", "No"]]) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: sign, title: text });
    button.setAttribute("aria-label", `${text}: ${one.item.name}`);
    button.dataset.verdict = verdict;
    button.addEventListener("click", () => judge(one, one.verdict === verdict ? null : verdict));
    buttons.append(button);
  }
  row.title = one.item.name;
  row.append(canvas, buttons);
  one.row = row;
  createImageBitmap(one.item.file)
    .then((photo) => {
      drawCutout(canvas, photo, one.item.planes, one);
      photo.close();
    })
    .catch(() => {}); // a format that only the server reads
  return row;
}

function judge(one, verdict) {
  one.verdict = verdict;
  one.row.dataset.verdict = verdict ?? "";
  for (const button of one.row.querySelectorAll("button")) button.setAttribute("aria-pressed", button.dataset.verdict === verdict);
  count();
}

function count() {
  const [yes, no] = ["accepted", "rejected"].map((verdict) => judged.found.filter((one) => one.verdict === verdict).length);
  element("review-learn").disabled = yes + no === 0;
  element("review-learn").textContent = yes + no ? `Learn from ${yes} and ${no} that are not` : "Learn";
}

async function learn() {
  const { label, found } = judged;
  const marks = (verdict) => found.filter((one) => one.verdict === verdict).map(mark);
  const body = { name: label.name, examples: marks("accepted"), against: marks("rejected"), force: true };
  const [first] = found.filter((one) => one.verdict);
  dialog.close();
  try {
    await again(first.item, () => change("learn", body));
    const said = [[body.examples.length, "example"], [body.against.length, "counter-example"]].filter(([number]) => number);
    toast(`Learnt ${label.name} from ${said.map(([number, what]) => `${number} ${what}${number > 1 ? "s" : ""}`).join(" and ")} more.`);
  } catch (error) {
    toast(error.message, { bad: true });
  }
}

function mark({ item: { key, planes }, ids, id }) {
  return { image: key, rle: pack(ids.map((value) => (value === id ? 1 : 0)), planes.width, planes.height) };
}
