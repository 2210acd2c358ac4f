// Where the card stands: beside a new pick, then where it is, or where it was dragged to; never beyond the view.

const element = (id) => document.getElementById(id);
const card = element("naming");
const MARGIN = 14;
let dragged = false;

export function startCard() {
  card.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, input")) return;
    event.preventDefault();
    card.setPointerCapture(event.pointerId);
    const [x, y] = [event.clientX - card.offsetLeft, event.clientY - card.offsetTop];
    card.onpointermove = (moved) => {
      dragged = true;
      put(moved.clientX - x, moved.clientY - y);
    };
  });
  for (const type of ["pointerup", "pointercancel"]) card.addEventListener(type, () => (card.onpointermove = null));
}

// The view within the stage, which the card is placed in.
function room() {
  const stage = element("stage").getBoundingClientRect();
  const view = element("view").getBoundingClientRect();
  return { x: view.left - stage.left, y: view.top - stage.top, width: view.width, height: view.height };
}

const within = (value, most) => Math.max(MARGIN, Math.min(value, most - MARGIN));

function put(left, top) {
  const { x, y, width, height } = room();
  card.style.left = `${x + within(left - x, width - card.offsetWidth)}px`;
  card.style.top = `${y + within(top - y, height - card.offsetHeight)}px`;
}

// Leaves the card where it is, as far as it fits there.
export const keepCard = () => put(card.offsetLeft, card.offsetTop);

// Right of a pick, left of it, below or above: where it hides least of it. fresh: another pick than before.
export function placeCard({ item, extent }, fresh) {
  if (fresh) dragged = false;
  if (dragged) {
    keepCard();
    return;
  }
  const { x, y, width, height } = room();
  const view = element("view").getBoundingClientRect();
  const picture = element("picture").getBoundingClientRect();
  const scale = picture.width / item.planes.width;
  const [left, right] = [extent.box[0], extent.box[2]].map((side) => picture.left - view.left + side * scale);
  const [top, bottom] = [extent.box[1], extent.box[3]].map((side) => picture.top - view.top + side * scale);
  const [wide, high] = [card.offsetWidth, card.offsetHeight];
  const common = (from, to, start, end) => Math.max(0, Math.min(to, end) - Math.max(from, start));
  const hides = ([a, b]) => common(a, a + wide, left, right) * common(b, b + high, top, bottom);
  const places = [
    [right + MARGIN, top], [left - wide - MARGIN, top], [left, bottom + MARGIN], [left, top - high - MARGIN],
  ].map(([a, b]) => [within(a, width - wide), within(b, height - high)]);
  const [a, b] = places.reduce((best, next) => (hides(next) < hides(best) ? next : best));
  put(x + a, y + b);
}
