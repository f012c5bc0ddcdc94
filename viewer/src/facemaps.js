// Three maps of the face: what was launched, what each column holds now, what has arrived.

import { rampBytes, rampColour, css } from "./colours.js";
import { brush, make } from "./dom.js";

const MAPS = [["input", "launched"], ["now", "on the way"], ["output", "arrived"]];

export class FaceMaps {
  constructor() {
    this.canvases = MAPS.map(([, words]) => make("canvas", { className: "facemap", role: "img", "aria-label": `levels ${words}, by site` }));
    this.element = make("div", { className: "facemaps" },
      this.canvases.map((canvas, index) => make("figure", {}, canvas, make("figcaption", {}, MAPS[index][1]))));
  }

  show(paths, step, theme) {
    const levels = paths.faces(step);
    const bytes = rampBytes(theme);
    MAPS.forEach(([name], index) => paintFace(this.canvases[index], paths.lattice, levels[name], bytes, paths.highestLevel));
  }
}

/** Paint values by site, row by row from the top. */
export function paintFace(canvas, { columns, rows }, values, bytes, highest) {
  const { pen, width, height } = brush(canvas);
  const size = Math.min(width / columns, height / rows);
  const [left, top] = [(width - size * columns) / 2, (height - size * rows) / 2];
  const most = Math.max(...values, 0.3 * highest, 1e-6);
  const gap = size > 6 ? 1 : 0;
  values.forEach((value, site) => {
    pen.fillStyle = css(rampColour(bytes, value / most));
    pen.fillRect(left + (site % columns) * size, top + Math.floor(site / columns) * size, size - gap, size - gap);
  });
}
