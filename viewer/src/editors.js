// How an input is written: a text, a maze, a flood, a sudoku, or numbers. Each editor has an element, `value()`, what the
// server takes, and `load()`, which shows a test row; it says `change` when people changed something.

import { letter, walls } from "./answer.js";
import { brush, button, choice, ink, make } from "./dom.js";

const WAYS = [[1, 0], [0, 1], [-1, 0], [0, -1]]; // right, down, left, up
const SIZES = { fewest: 2, most: 17 };
const MAZE_MODES = [["walls", "open and close walls"], ["start", "place the start"], ["goal", "place the goal"]];
const FLOOD_MODES = [["1", "block cells"], ["0", "free cells"], ["2", "place the source"]];

/** The editor for a data set. */
export function editorFor(subject) {
  const kinds = { text: TextEditor, maze: MazeEditor, flood: FloodEditor, sudoku: SudokuEditor, numbers: NumbersEditor };
  return new kinds[subject.editor](subject);
}

class Editor extends EventTarget {
  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

class TextEditor extends Editor {
  constructor() {
    super();
    this.area = make("textarea", { rows: 3, maxLength: 5000, "aria-label": "Text to send through", placeholder: "Type a definition, such as: a small domestic animal that purrs" });
    this.area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        this.#send();
      }
    });
    this.element = make("div", { className: "editor" }, this.area, make("div", { className: "line" }, button("Send the text", "Send the text (Enter)", () => this.#send(), { className: "primary" })));
  }

  #send() {
    if (this.area.value.trim()) this.changed();
  }

  value() {
    return { kind: "text", text: this.area.value.trim() };
  }

  load(row) {
    this.area.value = row.name;
  }
}

/** A canvas of cells that pointer and keys can edit. */
class CellEditor extends Editor {
  constructor(subject, modes, label) {
    super();
    this.face = subject.face;
    this.cursor = 0;
    this.mode = modes[0][0];
    this.canvas = make("canvas", { className: "cells", tabIndex: 0, role: "img", "aria-label": label });
    this.canvas.addEventListener("pointerdown", (event) => this.#press(event));
    this.canvas.addEventListener("pointermove", (event) => event.buttons && this.drag && this.#press(event));
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("focus", () => this.draw());
    this.canvas.addEventListener("blur", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    const mode = choice("What a click does", modes, this.mode, (value) => (this.mode = value));
    const sizes = Array.from({ length: SIZES.most - SIZES.fewest + 1 }, (_, index) => String(index + SIZES.fewest)).map((size) => [size, `${size} × ${size}`]);
    this.size = choice("Size", sizes, String(this.face[0]), (value) => this.resize(Number(value)));
    this.size.hidden = !subject.face_is_free;
    this.element = make("div", { className: "editor" }, this.canvas, make("div", { className: "line" }, mode),
      make("div", { className: "line" }, this.size, button("new", "Draw a new one at random", () => this.resize(this.face[0], this.face[1]))));
  }

  get columns() {
    return this.face[0];
  }

  resize(columns, rows = columns) {
    this.face = [columns, rows];
    this.fresh();
    this.cursor = 0;
    this.draw();
    this.changed();
  }

  load(row) {
    this.face = row.face;
    this.size.value = String(row.face[0]);
    this.take(row.numbers);
    this.draw();
  }

  #geometry(width, height) {
    const size = Math.min((width - 8) / this.columns, (height - 8) / this.face[1]);
    return { size, left: (width - size * this.columns) / 2, top: 4 };
  }

  #press(event) {
    const place = this.canvas.getBoundingClientRect();
    const { size, left, top } = this.#geometry(place.width, place.height);
    const [x, y] = [(event.clientX - place.left - left) / size, (event.clientY - place.top - top) / size];
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= this.columns || row >= this.face[1]) return;
    this.cursor = row * this.columns + column;
    if (this.edit(this.cursor, x - column, y - row)) this.#edited();
  }

  #key(event) {
    const way = ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"].indexOf(event.key);
    if (way >= 0) {
      if (event.shiftKey) {
        if (this.toward?.(this.cursor, way)) this.#edited();
      } else {
        const beside = this.beside(this.cursor, way);
        if (beside >= 0) this.cursor = beside;
      }
    } else if (event.key === " " || event.key === "Enter") {
      if (this.edit(this.cursor, 0.5, 0.5)) this.#edited();
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  #edited() {
    this.draw();
    this.changed();
  }

  /** The cell beside another one, or -1 beyond the edge. */
  beside(cell, way) {
    const [column, row] = [(cell % this.columns) + WAYS[way][0], Math.floor(cell / this.columns) + WAYS[way][1]];
    return column < 0 || row < 0 || column >= this.columns || row >= this.face[1] ? -1 : row * this.columns + column;
  }

  draw() {
    if (!this.canvas.clientWidth) return;
    this.canvas.style.aspectRatio = `${this.columns} / ${this.face[1]}`;
    const { pen, width, height } = brush(this.canvas);
    const { size, left, top } = this.#geometry(width, height);
    for (let cell = 0; cell < this.columns * this.face[1]; cell++) {
      pen.save();
      pen.translate(left + (cell % this.columns) * size, top + Math.floor(cell / this.columns) * size);
      this.paint(pen, size, cell);
      if (cell === this.cursor && document.activeElement === this.canvas) {
        pen.strokeStyle = ink("accent");
        pen.lineWidth = 2;
        pen.strokeRect(0.16 * size, 0.16 * size, 0.68 * size, 0.68 * size);
      }
      pen.restore();
    }
  }
}

class MazeEditor extends CellEditor {
  constructor(subject) {
    super(subject, MAZE_MODES, "Maze: arrows move, shift and an arrow open or close a wall, space places start or goal");
    this.fresh();
  }

  take(numbers) {
    const cells = Array.from({ length: numbers.length / 6 }, (_, cell) => numbers.slice(6 * cell, 6 * cell + 6));
    this.open = cells.map((cell) => cell.slice(0, 4).map((number) => number > 0.5));
    this.start = cells.findIndex((cell) => cell[4] > 0.5);
    this.goal = cells.findIndex((cell) => cell[5] > 0.5);
  }

  /** A maze in which one way leads from any cell to any other, by a random search. */
  fresh() {
    const count = this.columns * this.face[1];
    this.open = Array.from({ length: count }, () => [false, false, false, false]);
    const seen = new Set([0]);
    const trail = [0];
    while (trail.length) {
      const here = trail.at(-1);
      const ways = [0, 1, 2, 3].filter((way) => this.beside(here, way) >= 0 && !seen.has(this.beside(here, way)));
      if (!ways.length) {
        trail.pop();
        continue;
      }
      const way = ways[Math.floor(Math.random() * ways.length)];
      this.toward(here, way);
      seen.add(this.beside(here, way));
      trail.push(this.beside(here, way));
    }
    this.start = 0;
    this.goal = count - 1;
  }

  /** Open or close the wall on one side of a cell. */
  toward(cell, way) {
    const beside = this.beside(cell, way);
    if (beside < 0) return false;
    const open = !this.open[cell][way];
    this.open[cell][way] = open;
    this.open[beside][(way + 2) % 4] = open;
    return true;
  }

  edit(cell, x, y) {
    if (this.mode === "walls") {
      const gaps = [1 - x, 1 - y, x, y];
      const nearest = gaps.indexOf(Math.min(...gaps));
      return gaps[nearest] < 0.36 && this.toward(cell, nearest);
    }
    const other = this.mode === "start" ? this.goal : this.start;
    if (cell === other) return false;
    this[this.mode] = cell;
    return true;
  }

  value() {
    const numbers = this.open.flatMap((ways, cell) => [...ways.map(Number), Number(cell === this.start), Number(cell === this.goal)]);
    return { kind: "numbers", numbers, face: this.face };
  }

  paint(pen, size, cell) {
    if (cell === this.start) letter(pen, size, "S");
    if (cell === this.goal) letter(pen, size, "G");
    walls(pen, size, this.open[cell]);
  }
}

class FloodEditor extends CellEditor {
  constructor(subject) {
    super(subject, FLOOD_MODES, "Flood: arrows move, space changes a cell");
    this.drag = true;
    this.fresh();
  }

  take(numbers) {
    this.kinds = Array.from({ length: numbers.length / 3 }, (_, cell) => [0, 1, 2].findIndex((kind) => numbers[3 * cell + kind] > 0.5));
  }

  fresh() {
    this.kinds = Array.from({ length: this.columns * this.face[1] }, () => (Math.random() < 0.35 ? 1 : 0));
    this.kinds[Math.floor(Math.random() * this.kinds.length)] = 2;
  }

  edit(cell) {
    const kind = Number(this.mode);
    if (this.kinds[cell] === kind || (this.kinds[cell] === 2 && kind !== 2)) return false;
    if (kind === 2) this.kinds[this.kinds.indexOf(2)] = 0;
    this.kinds[cell] = kind;
    return true;
  }

  value() {
    return { kind: "numbers", numbers: this.kinds.flatMap((kind) => [0, 1, 2].map((one) => Number(one === kind))), face: this.face };
  }

  paint(pen, size, cell) {
    pen.fillStyle = ink(this.kinds[cell] === 1 ? "line" : "raised");
    pen.fillRect(0.5, 0.5, size - 1, size - 1);
    if (this.kinds[cell] === 2) letter(pen, size, "S");
  }
}

class SudokuEditor extends Editor {
  constructor(subject) {
    super();
    this.digits = subject.digits;
    const [columns, rows] = subject.block;
    this.cells = Array.from({ length: this.digits ** 2 }, (_, cell) => this.#cell(cell, columns, rows));
    this.grid = make("div", { className: "sudoku", role: "group", "aria-label": "Sudoku" }, this.cells);
    this.grid.style.gridTemplateColumns = `repeat(${this.digits}, 1fr)`;
    this.element = make("div", { className: "editor" }, this.grid, make("div", { className: "line" }, button("clear", "Take all digits away", () => this.#clear())));
  }

  #cell(cell, columns, rows) {
    const [column, row] = [cell % this.digits, Math.floor(cell / this.digits)];
    const field = make("input", { type: "text", inputMode: "numeric", maxLength: 1, "aria-label": `row ${row + 1}, column ${column + 1}` });
    if (column % columns === 0) field.classList.add("edge");
    if (row % rows === 0) field.classList.add("top");
    field.addEventListener("input", () => {
      const digit = Number(field.value);
      if (!(digit >= 1 && digit <= this.digits)) field.value = "";
      this.changed();
    });
    field.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.digits, ArrowUp: -this.digits }[event.key];
      if (step) this.cells[cell + step]?.focus();
    });
    field.addEventListener("focus", () => field.select());
    return field;
  }

  #clear() {
    for (const field of this.cells) field.value = "";
    this.changed();
  }

  value() {
    return { kind: "sudoku", digits: this.cells.map((field) => Number(field.value) || 0) };
  }

  load(row) {
    const width = this.digits + 1;
    this.cells.forEach((field, cell) => {
      const digit = row.numbers.slice(width * cell, width * (cell + 1)).findIndex((number) => number > 0.5);
      field.value = digit > 0 ? String(digit) : "";
    });
  }
}

class NumbersEditor extends Editor {
  constructor() {
    super();
    this.numbers = [];
    this.cursor = 0;
    this.canvas = make("canvas", { className: "numbers", tabIndex: 0, role: "img", "aria-label": "The numbers of the input: drag to change them; arrows choose and change one" });
    const press = (event) => event.buttons && this.#press(event);
    this.canvas.addEventListener("pointerdown", press);
    this.canvas.addEventListener("pointermove", press);
    this.canvas.addEventListener("pointerup", () => this.changed());
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.note = make("p", { className: "note" });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.element = make("div", { className: "editor" }, this.canvas, this.note);
  }

  get most() {
    return Math.max(1e-6, this.range ?? 1);
  }

  #press(event) {
    const place = this.canvas.getBoundingClientRect();
    const index = Math.floor(((event.clientX - place.left) / place.width) * this.numbers.length);
    if (index < 0 || index >= this.numbers.length) return;
    this.cursor = index;
    this.numbers[index] = (1 - (2 * (event.clientY - place.top)) / place.height) * this.most;
    this.draw();
  }

  #key(event) {
    const aside = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const up = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!aside && !up) return;
    event.preventDefault();
    event.stopPropagation();
    if (aside) this.cursor = Math.min(this.numbers.length - 1, Math.max(0, this.cursor + aside));
    if (up) {
      this.numbers[this.cursor] += 0.1 * up * this.most;
      this.changed();
    }
    this.draw();
  }

  value() {
    return { kind: "numbers", numbers: this.numbers, face: this.face ?? null };
  }

  load(row) {
    this.numbers = [...row.numbers];
    this.face = row.face;
    this.range = 1.15 * Math.max(...this.numbers.map(Math.abs), 1e-6);
    this.draw();
  }

  draw() {
    if (!this.canvas.clientWidth || !this.numbers.length) return;
    const { pen, width, height } = brush(this.canvas);
    const wide = width / this.numbers.length;
    this.numbers.forEach((value, index) => {
      pen.fillStyle = ink(index === this.cursor ? "accent" : "first");
      pen.fillRect(index * wide, height / 2, Math.max(0.6, wide - (wide > 4 ? 1 : 0)), (-value / this.most) * (height / 2 - 2));
    });
    this.note.textContent = `number ${this.cursor}: ${this.numbers[this.cursor].toFixed(3)}`;
  }
}
