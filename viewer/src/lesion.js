// The lesion: cells of a plane that people paint; a flow that would enter one fades, or goes straight ahead.

import { rampBytes, rampColour, css } from "./colours.js";
import { brush, button, choice, ink, make } from "./dom.js";

const BRUSHES = [["cell", "paint cells"], ["site", "paint sites"], ["column", "paint sites, this plane and on"]];
const MOST = 20000;

export class Lesion extends EventTarget {
  constructor() {
    super();
    this.blocked = new Map();
    this.brush = "cell";
    this.otherwise = "fade";
    this.cursor = [0, 0];
    this.canvas = make("canvas", { className: "lesion", tabIndex: 0, role: "img", "aria-label": "Cells of the plane: arrows move, space paints" });
    this.canvas.addEventListener("pointerdown", (event) => this.#press(event, true));
    this.canvas.addEventListener("pointermove", (event) => event.buttons && this.#press(event, false));
    this.canvas.addEventListener("pointerup", () => this.#done());
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.plane = make("input", { type: "range", min: 1, max: 1, value: 1, "aria-label": "Plane z", on: { input: () => this.draw() } });
    this.words = make("span", { className: "note" });
    this.element = make("div", { className: "editor" },
      make("div", { className: "line" }, this.words, this.plane),
      this.canvas,
      make("div", { className: "line" },
        choice("Brush", BRUSHES, this.brush, (value) => (this.brush = value)),
        choice("What a blocked flow does", [["fade", "flows fade there"], ["straight", "flows go straight ahead"]], "fade", (value) => {
          this.otherwise = value;
          if (this.blocked.size) this.#done();
        }),
        button("clear", "Take the lesion away", () => this.clear())));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  /** Show the traffic of a run; cells beyond its box are forgotten. */
  setPaths(paths) {
    this.paths = paths;
    const { width, height, depth } = paths.lattice;
    for (const [key, [x, y, z]] of this.blocked) if (x >= width || y >= height || z >= depth) this.blocked.delete(key);
    this.traffic = paths.traffic();
    const before = Number(this.plane.max);
    this.plane.max = depth - 1;
    if (before !== depth - 1) this.plane.value = this.#busiestPlane();
    this.draw();
  }

  #busiestPlane() {
    const { depth } = this.paths.lattice;
    const visits = new Float32Array(depth);
    for (const cell of this.traffic) visits[cell.z] += cell.visits;
    let best = Math.max(1, Math.floor(depth / 2));
    for (let z = 1; z < depth - 1; z++) if (visits[z] > visits[best]) best = z;
    return best;
  }

  get cells() {
    return [...this.blocked.values()];
  }

  /** What the server takes, or null where nothing is painted. */
  value() {
    return this.blocked.size ? { kind: "block", cells: this.cells, otherwise: this.otherwise } : null;
  }

  clear() {
    this.blocked.clear();
    this.#done();
  }

  #place(event) {
    const place = this.canvas.getBoundingClientRect();
    const { size, left, top } = this.#geometry(place.width, place.height);
    return [Math.floor((event.clientX - place.left - left) / size), Math.floor((event.clientY - place.top - top) / size)];
  }

  #geometry(width, height) {
    const lattice = this.paths.lattice;
    const size = Math.min(width / lattice.width, height / lattice.height);
    return { size, left: (width - size * lattice.width) / 2, top: (height - size * lattice.height) / 2 };
  }

  #press(event, first) {
    if (!this.paths) return;
    const [x, y] = this.#place(event);
    const { width, height } = this.paths.lattice;
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    this.cursor = [x, y];
    if (first) {
      this.canvas.setPointerCapture(event.pointerId);
      this.erasing = this.blocked.has(this.#key3(x, y, Number(this.plane.value)));
    }
    this.#paint(x, y);
    this.draw();
  }

  #key(event) {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!this.paths || (!step && event.key !== " ")) return;
    event.preventDefault();
    event.stopPropagation();
    const { width, height } = this.paths.lattice;
    if (step) {
      this.cursor = [Math.min(width - 1, Math.max(0, this.cursor[0] + step[0])), Math.min(height - 1, Math.max(0, this.cursor[1] + step[1]))];
      this.draw();
      return;
    }
    this.erasing = this.blocked.has(this.#key3(...this.cursor, Number(this.plane.value)));
    this.#paint(...this.cursor);
    this.#done();
  }

  #key3(x, y, z) {
    const { width, height } = this.paths.lattice;
    return (z * height + y) * width + x;
  }

  #paint(x, y) {
    const lattice = this.paths.lattice;
    const here = Number(this.plane.value);
    const cells = [];
    if (this.brush === "cell") cells.push([x, y]);
    else {
      const site = lattice.siteOf(x, y);
      for (let row = 0; row < lattice.height; row++) {
        for (let column = 0; column < lattice.width; column++) if (lattice.siteOf(column, row) === site) cells.push([column, row]);
      }
    }
    const last = this.brush === "column" ? lattice.depth - 1 : here;
    for (let z = here; z <= last; z++) {
      for (const [column, row] of cells) {
        const key = this.#key3(column, row, z);
        if (this.erasing) this.blocked.delete(key);
        else if (this.blocked.size < MOST) this.blocked.set(key, [column, row, z]);
      }
    }
  }

  #done() {
    this.draw();
    this.dispatchEvent(new Event("change"));
  }

  draw() {
    if (!this.paths || !this.canvas.clientWidth) return;
    const lattice = this.paths.lattice;
    const z = Number(this.plane.value);
    this.words.textContent = `plane z = ${z}, ${this.blocked.size} cells blocked`;
    this.canvas.style.aspectRatio = `${lattice.width} / ${lattice.height}`;
    const { pen, width, height } = brush(this.canvas);
    const { size, left, top } = this.#geometry(width, height);
    const gap = size > 5 ? 1 : 0;
    pen.fillStyle = ink("raised");
    for (let y = 0; y < lattice.height; y++) {
      for (let x = 0; x < lattice.width; x++) pen.fillRect(left + x * size, top + y * size, size - gap, size - gap);
    }
    this.#traffic(pen, z, size, left, top, gap);
    pen.fillStyle = "rgba(255, 77, 77, 0.78)";
    for (const [x, y, at] of this.blocked.values()) if (at === z) pen.fillRect(left + x * size, top + y * size, size - gap, size - gap);
    if (document.activeElement === this.canvas) {
      pen.strokeStyle = ink("accent");
      pen.lineWidth = 2;
      pen.strokeRect(left + this.cursor[0] * size, top + this.cursor[1] * size, size - gap, size - gap);
    }
  }

  #traffic(pen, z, size, left, top, gap) {
    const here = this.traffic.filter((cell) => cell.z === z);
    const busiest = here.reduce((most, cell) => Math.max(most, cell.visits), 1);
    const bytes = rampBytes(document.documentElement.dataset.theme ?? "dark");
    for (const cell of here) {
      pen.fillStyle = css(rampColour(bytes, 0.25 + (0.6 * cell.visits) / busiest), 0.9);
      pen.fillRect(left + cell.x * size, top + cell.y * size, size - gap, size - gap);
    }
  }
}
