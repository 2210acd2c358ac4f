"use strict";
const box = document.querySelector("dialog"), big = box.querySelector("img"), caption = box.querySelector("p");
const pictures = [...document.querySelectorAll("button.zoom")];
let at = 0;
function show(index) {
  at = (index + pictures.length) % pictures.length;
  const small = pictures[at].querySelector("img");
  big.src = small.src;
  big.alt = small.alt;
  caption.textContent = pictures[at].dataset.caption;
  if (!box.open) box.showModal();
}
pictures.forEach((button, index) => button.addEventListener("click", () => show(index)));
box.addEventListener("click", () => box.close());
box.addEventListener("close", () => pictures[at].focus());
addEventListener("keydown", (event) => {
  if (!box.open) return;
  if (event.key === "ArrowRight") show(at + 1);
  if (event.key === "ArrowLeft") show(at - 1);
});
