// What the model would answer at a step: nearest texts with scores, the cells of a maze or a sudoku, or the error.

import { classColour, css } from "./colours.js";
import { brush, figure, ink, make } from "./dom.js";

export class AnswerPanel {
  constructor() {
    this.title = make("h3", {}, "Answer");
    this.body = make("div", { className: "answer-body" });
    this.chart = make("canvas", { className: "read-chart", role: "img", "aria-label": "the answer over the steps" });
    this.element = make("section", { className: "answer", hidden: true }, this.title, this.body, this.chart);
  }

  setAnswer(answer) {
    this.answer = answer;
    this.element.hidden = !answer;
    this.row = undefined;
  }

  /** Show what would be read at a step; the last read-out before it, where it was not read. */
  show(step) {
    const { answer } = this;
    if (!answer) return;
    this.step = step;
    const row = readAt(answer, step);
    if (row !== this.row) {
      this.row = row;
      const name = this.prefix ?? "Answer";
      this.title.textContent = row < 0 ? `${name}: nothing is read at the launch` : `${name}, read at step ${answer.steps[row]}`;
      this.body.replaceChildren(...(row < 0 ? [] : [DRAWERS[answer.kind](answer, row)]));
    }
    this.#curve();
  }

  #curve() {
    const { answer } = this;
    const values = answer.curve;
    this.chart.hidden = !values?.length;
    if (this.chart.hidden || !this.chart.clientWidth) return;
    const { pen, width, height } = brush(this.chart);
    const last = answer.steps.at(-1);
    const [low, high] = [Math.min(0, ...values), Math.max(...values, 1e-9)];
    const across = (step) => 6 + ((width - 12) * step) / Math.max(1, last);
    const down = (value) => height - 6 - ((value - low) / (high - low)) * (height - 26);
    pen.strokeStyle = ink("third");
    pen.lineWidth = 1.8;
    pen.beginPath();
    values.forEach((value, index) => pen.lineTo(across(answer.steps[index]), down(value)));
    pen.stroke();
    const row = Math.max(0, readAt(answer, this.step));
    pen.fillStyle = ink("third");
    pen.beginPath();
    pen.arc(across(answer.steps[row]), down(values[row]), 3.5, 0, 7);
    pen.fill();
    pen.font = "11px system-ui, sans-serif";
    pen.fillText(`${answer.curve_name} ${figure(values[row])}`, 6, 11);
  }
}

/** The row of the read-out that holds at a step, or -1 before the first. */
export function readAt(answer, step) {
  let row = -1;
  answer.steps.forEach((at, index) => {
    if (at <= step) row = index;
  });
  return row;
}

const DRAWERS = {
  texts: (answer, row) =>
    make("ol", { className: "texts" }, answer.reads[row].map(([text, score]) => {
      const bar = make("span", { className: "bar" });
      bar.style.width = `${Math.max(0, 100 * score)}%`;
      return make("li", { className: text === answer.target ? "right" : "" }, bar, make("span", {}, text), make("b", {}, score.toFixed(3)));
    })),
  cells: (answer, row) => {
    const canvas = make("canvas", { className: "cells", role: "img", "aria-label": describe(answer, row) });
    requestAnimationFrame(() => drawCells(canvas, answer, answer.reads[row]));
    return make("div", {}, canvas, make("p", { className: "note" }, describe(answer, row)));
  },
  numbers: (answer, row) => {
    const canvas = make("canvas", { className: "numbers", role: "img", "aria-label": "the numbers of the output, the target as outlines" });
    requestAnimationFrame(() => drawNumbers(canvas, answer.reads[row], answer.target));
    return canvas;
  },
};

function describe(answer, row) {
  const cells = answer.reads[row];
  if (answer.drawing === "maze") return `${cells.filter((one) => one === 1).length} cells marked as the way${wrongs(answer, cells)}`;
  return `${cells.length} cells${wrongs(answer, cells)}`;
}

function wrongs(answer, cells) {
  if (!answer.target) return "";
  const wrong = cells.filter((one, index) => one !== answer.target[index]).length;
  return wrong ? `, ${wrong} other than the target` : ", all as in the target";
}

/** Draw the cells of a face: a maze with its marks, a sudoku with its digits, a flood, or classes as colours. */
export function drawCells(canvas, answer, marks) {
  const [columns, rows] = answer.face;
  canvas.style.aspectRatio = `${columns} / ${rows}`;
  if (!canvas.clientWidth) return;
  const { pen, width, height } = brush(canvas);
  const size = Math.min((width - 4) / columns, (height - 4) / rows);
  pen.translate(2 + (width - 4 - size * columns) / 2, 2);
  const paint = PAINTERS[answer.drawing] ?? PAINTERS.classes;
  for (let cell = 0; cell < columns * rows; cell++) {
    pen.save();
    pen.translate((cell % columns) * size, Math.floor(cell / columns) * size);
    paint(pen, size, answer, cell, marks);
    pen.restore();
  }
}

const PAINTERS = {
  maze(pen, size, answer, cell, marks) {
    const numbers = answer.given.slice(6 * cell, 6 * cell + 6);
    const right = !answer.target || answer.target[cell] === marks[cell];
    if (marks[cell] === 1) {
      pen.fillStyle = right ? ink("third") : ink("wrong");
      pen.globalAlpha = 0.85;
      pen.beginPath();
      pen.arc(size / 2, size / 2, 0.24 * size, 0, 7);
      pen.fill();
      pen.globalAlpha = 1;
    } else if (!right) {
      pen.strokeStyle = ink("wrong");
      pen.strokeRect(0.34 * size, 0.34 * size, 0.32 * size, 0.32 * size);
    }
    if (numbers[4] > 0.5 || numbers[5] > 0.5) letter(pen, size, numbers[4] > 0.5 ? "S" : "G");
    walls(pen, size, numbers);
  },
  sudoku(pen, size, answer, cell, marks) {
    const [columns] = answer.face;
    const given = answer.given[cell];
    const right = !answer.target || answer.target[cell] === marks[cell];
    pen.strokeStyle = ink("line");
    pen.strokeRect(0, 0, size, size);
    const [boxColumns, boxRows] = answer.block;
    pen.strokeStyle = ink("text");
    pen.lineWidth = 1.5;
    if ((cell % columns) % boxColumns === 0) stroke(pen, 0, 0, 0, size);
    if (Math.floor(cell / columns) % boxRows === 0) stroke(pen, 0, 0, size, 0);
    pen.fillStyle = given ? ink("text") : right ? ink("third") : ink("wrong");
    pen.font = `${given ? 700 : 400} ${0.56 * size}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText(String(marks[cell] + 1), size / 2, size / 2 + 1);
  },
  flood(pen, size, answer, cell, marks) {
    const kind = answer.given[cell];
    pen.fillStyle = kind === 1 ? ink("line") : marks[cell] ? ink("first") : ink("panel");
    pen.fillRect(0.5, 0.5, size - 1, size - 1);
    if (kind === 2) letter(pen, size, "S");
    if (answer.target && answer.target[cell] !== marks[cell]) {
      pen.strokeStyle = ink("wrong");
      pen.strokeRect(1, 1, size - 2, size - 2);
    }
  },
  classes(pen, size, answer, cell, marks) {
    pen.fillStyle = css(classColour(marks[cell]), 0.85);
    pen.fillRect(0.5, 0.5, size - 1, size - 1);
  },
};

/** Draw the walls of a maze's cell; `numbers` are its openings to the right, down, left and up. */
export function walls(pen, size, numbers) {
  pen.strokeStyle = ink("text");
  pen.lineWidth = Math.max(1, Math.min(2.5, size / 12));
  pen.lineCap = "round";
  const sides = [[size, 0, size, size], [0, size, size, size], [0, 0, 0, size], [0, 0, size, 0]];
  sides.forEach((side, way) => {
    if (numbers[way] < 0.5) stroke(pen, ...side);
  });
}

/** Write a letter in the middle of a cell. */
export function letter(pen, size, text) {
  pen.fillStyle = ink("text");
  pen.font = `700 ${0.5 * size}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(text, size / 2, size / 2 + 1);
}

function stroke(pen, fromX, fromY, toX, toY) {
  pen.beginPath();
  pen.moveTo(fromX, fromY);
  pen.lineTo(toX, toY);
  pen.stroke();
}

function drawNumbers(canvas, values, target) {
  if (!canvas.clientWidth) return;
  const { pen, width, height } = brush(canvas);
  const most = Math.max(...values.map(Math.abs), ...(target ?? []).map(Math.abs), 1e-9);
  const wide = width / values.length;
  const up = (value) => (value / most) * (height / 2 - 2);
  pen.fillStyle = ink("third");
  values.forEach((value, index) => pen.fillRect(index * wide, height / 2, Math.max(0.6, wide - (wide > 4 ? 1 : 0)), -up(value)));
  if (!target) return;
  pen.strokeStyle = ink("text");
  pen.globalAlpha = 0.7;
  pen.beginPath();
  target.forEach((value, index) => {
    pen.lineTo(index * wide, height / 2 - up(value));
    pen.lineTo((index + 1) * wide, height / 2 - up(value));
  });
  pen.stroke();
}
