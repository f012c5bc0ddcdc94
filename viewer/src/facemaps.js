// Three maps of the face: what was launched, what each column holds now, what has arrived.

import { rampBytes, rampColour, css } from "./colours.js";
import { make } from "./dom.js";

const SQUARES = 400, SCALE = 14;
const MAPS = [["input", "launched"], ["now", "on the way"], ["output", "arrived"]];

export class FaceMaps {
  constructor(choose) {
    this.canvases = MAPS.map(([, words]) => make("canvas", { className: "facemap", role: "img", "aria-label": `levels ${words}, by site` }));
    this.element = make("div", { className: "facemaps" },
      this.canvases.map((canvas, index) => make("figure", {}, canvas, make("figcaption", {}, MAPS[index][1]))));
    this.#listen(choose);
  }

  #listen(choose) {
    const [launched] = this.canvases;
    launched.title = "Click a site to see its flows alone";
    launched.addEventListener("click", (event) => {
      const { columns, rows } = this.lattice;
      const place = launched.getBoundingClientRect();
      const size = Math.min(place.width / columns, place.height / rows);
      const column = Math.floor((event.clientX - place.left - (place.width - size * columns) / 2) / size);
      const row = Math.floor((event.clientY - place.top - (place.height - size * rows) / 2) / size);
      if (column >= 0 && row >= 0 && column < columns && row < rows) choose(row * columns + column);
    });
  }

  show(paths, step, theme) {
    this.lattice = paths.lattice;
    const levels = paths.faces(step);
    const bytes = rampBytes(theme);
    MAPS.forEach(([name], index) => paintFace(this.canvases[index], paths.lattice, levels[name], bytes, paths.highestLevel));
  }
}

/** Paint values by site, row by row from the top: squares, or pixels where there are many. */
export function paintFace(canvas, { columns, rows }, values, bytes, highest) {
  const most = Math.max(...values, 0.3 * highest, 1e-6);
  const few = values.length <= SQUARES;
  const scale = few ? SCALE : 1;
  if (canvas.width !== columns * scale || canvas.height !== rows * scale) {
    Object.assign(canvas, { width: columns * scale, height: rows * scale });
    canvas.style.aspectRatio = `${columns} / ${rows}`;
  }
  const pen = canvas.getContext("2d");
  if (few) {
    pen.clearRect(0, 0, canvas.width, canvas.height);
    values.forEach((value, site) => {
      pen.fillStyle = css(rampColour(bytes, value / most));
      pen.fillRect((site % columns) * scale, Math.floor(site / columns) * scale, scale - 1, scale - 1);
    });
    return;
  }
  const image = pen.createImageData(columns, rows);
  values.forEach((value, site) => image.data.set([...rampColour(bytes, value / most), 255], 4 * site));
  pen.putImageData(image, 0, 0);
}
