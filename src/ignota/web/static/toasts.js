// Short messages at the edge of the page, read out by screen readers.

const place = document.getElementById("toasts");
const STAYS = 7000;

export function toast(text, { bad = false, action = null, act = null } = {}) {
  const box = document.createElement("div");
  box.className = bad ? "toast bad" : "toast";
  box.append(Object.assign(document.createElement("span"), { textContent: text }));
  const close = () => box.remove();
  if (action) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: action });
    button.addEventListener("click", () => {
      close();
      act();
    });
    box.append(button);
  }
  place.append(box);
  while (place.children.length > 3) place.firstChild.remove();
  setTimeout(close, bad ? 2 * STAYS : STAYS);
}
