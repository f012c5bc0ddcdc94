// The explorer: inputs on the left, one view or two, answers on the right; it asks the server that sent the page.

import { Board } from "./board.js";
import { button, make } from "./dom.js";
import { readLink } from "./link.js";
import { ask, Slot } from "./slot.js";

export async function explore() {
  const status = make("p", { className: "status", role: "status" });
  const say = (words, busy = false) => {
    status.textContent = words;
    status.classList.toggle("busy", busy);
  };
  let subject;
  try {
    subject = await ask("/api/subject");
  } catch (error) {
    document.body.append(make("p", { className: "failed" }, error.message));
    return;
  }
  const slots = ["A", "B"].map((name) => new Slot(name, subject, say));
  const [first, second] = slots;
  second.rival = () => first.base?.run;
  const board = new Board(slots.map((slot) => slot.view));
  const tabs = slots.map((slot) => button(slot.name, `Edit ${slot.name}`, () => choose(slot), { className: "tab" }));
  const compare = button("compare", "Compare two inputs, models or boxes side by side", () => setCompared(!compared), { "aria-pressed": "false" });
  const routes = button("B on A's routes", "Let the flows of B take the routes of A", () => second.replay(first.shown.run, "routes of A"), { hidden: true });
  const left = make("aside", { className: "left", "aria-label": "Input and interventions" }, make("div", { className: "line tabs" }, tabs, compare, routes), status, slots.map((slot) => slot.panel));
  const header = make("header", {}, make("h1", {}, "Energy Flow explorer"), make("p", { className: "subtitle" }, subject.data), board.tools);
  document.body.classList.add("explorer");
  document.body.append(header,
    make("main", {}, left, make("div", { className: "views" }, slots.map((slot) => slot.view.element)), make("aside", { className: "side", "aria-label": "Faces and answers" }, slots.map((slot) => slot.view.side))),
    board.timeline.element, board.live, board.help);
  let compared = false, chosen = first;

  function choose(slot) {
    chosen = slot;
    slots.forEach((one, index) => {
      one.panel.hidden = one !== slot;
      tabs[index].setAttribute("aria-pressed", String(one === slot));
    });
  }

  async function setCompared(on) {
    compared = on;
    compare.setAttribute("aria-pressed", String(on));
    document.body.classList.toggle("comparing", on);
    for (const part of [second.view.element, second.view.side, tabs[1], routes]) part.hidden = !on;
    if (on && !second.base) await second.begin(Math.min(subject.rows - 1, (first.row ?? 0) + 1));
    choose(on ? second : first);
    board.refresh();
    requestAnimationFrame(() => board.wholeBox());
  }

  for (const slot of slots) {
    slot.addEventListener("shown", () => {
      slot.view.paint(board.look);
      board.refresh();
      slot.before.show(Math.floor(board.player.time));
    });
  }
  board.player.addEventListener("time", () => slots.forEach((slot) => slot.before.show(Math.min(Math.floor(board.player.time), slot.view.paths?.steps ?? 0))));
  board.extra = () => ({ row: first.row });
  await setCompared(false);
  const link = readLink();
  await first.begin(link.row >= 0 && link.row < subject.rows ? link.row : 0);
  if (first.base) board.open();
  window.energyFlow = { board, slots, view: first.view, setCompared };
  document.documentElement.dataset.ready = "";
}
