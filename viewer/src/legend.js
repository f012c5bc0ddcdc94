// What the colours mean, and the figures of a step.

import { classColour, css, rampBytes, rampColour, bandBytes, siteColour } from "./colours.js";
import { figure, make } from "./dom.js";
import { answerOf } from "./flows.js";

const MARKS = ["not marked", "marked"];
const STEPS = 24; // of the ramp

export class Legend {
  constructor() {
    this.element = make("div", { className: "legend-box" });
  }

  show(paths, { colouring, theme }) {
    const parts = { level: levelPart, class: classPart, origin: originPart, answer: answerPart }[colouring](paths, theme);
    this.element.replaceChildren(...parts);
  }
}

function swatch(colour) {
  const dot = make("i", { className: "swatch" });
  dot.style.background = css(colour);
  return dot;
}

function levelPart(paths, theme) {
  const bytes = rampBytes(theme);
  const bar = make("span", { className: "ramp", role: "img", "aria-label": "from low to high level" });
  const stops = Array.from({ length: STEPS }, (_, step) => css(rampColour(bytes, step / (STEPS - 1))));
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  return [make("span", {}, "level 0"), bar, make("span", {}, figure(paths.highestLevel))];
}

function classPart(paths) {
  return paths.scene.classes.map((name, number) => make("span", { className: "entry" }, swatch(classColour(number)), name));
}

function originPart({ lattice }, theme) {
  const corners = [[0, 0], [lattice.columns - 1, 0], [lattice.columns - 1, lattice.rows - 1], [0, lattice.rows - 1]];
  const dots = corners.map(([column, row]) => swatch(siteColour(column, row, lattice.columns, lattice.rows, theme)));
  return [make("span", { className: "entry" }, dots, "the place of launch; children keep the hue")];
}

function answerPart(paths, theme) {
  const answer = answerOf(paths);
  if (!answer) return [];
  const bytes = bandBytes(answer.classes, theme);
  return Array.from({ length: answer.classes }, (_, number) => {
    const words = answer.classes === 2 ? MARKS[number] : String(number + 1);
    return make("span", { className: "entry" }, swatch(rampColour(bytes, (number + 0.5) / answer.classes)), words);
  });
}

/** The figures of a step as a list. */
export function figuresOf(paths, step) {
  const facts = [
    ["live", figure(paths.live[step] ?? 0, 6)], ["arrived", paths.arrived[step] ?? 0], ["faded", paths.faded[step] ?? 0],
    ["born", paths.born[step] ?? 0],
  ];
  return make("dl", { className: "row" }, facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
}
