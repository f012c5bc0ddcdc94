// The address of the page holds the view, so that a link restores it: step, camera, colouring, sample.

const WORDS = { t: "time", c: "colouring", s: "sample", v: "view", d: "traffic", w: "trail", th: "theme", f: "followed", r: "row" };

/** What the address says: {time, colouring, sample, view, traffic, trail, theme, followed}, each where it is there. */
export function readLink() {
  const found = {};
  for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
    const name = WORDS[key];
    if (!name) continue;
    const numbers = text.split("_").map(Number);
    if (name === "view") {
      if (numbers.length === 6 && numbers.every(Number.isFinite)) found.view = numbers;
    } else if (name === "colouring" || name === "theme") found[name] = text;
    else if (Number.isFinite(numbers[0])) found[name] = numbers[0];
  }
  return found;
}

/** Write the view into the address, without a new entry in the history. */
export function writeLink(state) {
  if (!/^(https?|file):$/.test(location.protocol)) return; // a notebook's frame has no address of its own
  const words = new URLSearchParams();
  for (const [key, name] of Object.entries(WORDS)) {
    const value = state[name];
    if (value !== undefined && value !== null) words.set(key, Array.isArray(value) ? value.join("_") : String(value));
  }
  history.replaceState(null, "", `#${words}`);
}
