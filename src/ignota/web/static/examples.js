// Drawn pictures to begin with.

import { add } from "./opening.js";
import { toast } from "./toasts.js";

const NUMBER = 4;

export function startExamples() {
  document.getElementById("examples").addEventListener("click", async () => {
    const names = Array.from({ length: NUMBER }, (_, i) => `example-${i + 1}.jpg`);
    try {
      add(await Promise.all(names.map(file)));
    } catch {
      toast("The example pictures did not come: is the server still running?", { bad: true });
    }
  });
}

async function file(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(name);
  return new File([await answer.blob()], name, { type: "image/jpeg" });
}
