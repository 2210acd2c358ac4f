// One line for what a class covers, before it is learnt and after.

export const percent = (share) => `${share > 0 && share < 0.01 ? "<1" : Math.round(100 * share)} %`;

// others: in how many other images it is found.
export function summary({ covers, outside }, others) {
  const further = others ? `; ${others} other image${others === 1 ? "" : "s"}` : "";
  return `covers ${percent(covers)} of your mark, ${percent(outside)} outside${further}`;
}
