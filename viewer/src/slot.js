// One side of the comparison: an input, a model, a box, what people did to it, and the runs before and after that.

import { AnswerPanel } from "./answer.js";
import { button, choice, figure, make } from "./dom.js";
import { editorFor } from "./editors.js";
import { Lesion } from "./lesion.js";
import { View } from "./view.js";

const WAIT = 220; // milliseconds of quiet before a run

/** Ask the server; an error is what it says. */
export async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const reply = await fetch(path, options);
  const found = await reply.json();
  if (!reply.ok) throw new Error(found.error ?? `the server said ${reply.status}`);
  return found;
}

export class Slot extends EventTarget {
  constructor(name, subject, say) {
    super();
    Object.assign(this, { name, subject, say, model: 0, box: null, hands: [], asked: 0 });
    this.view = new View(name);
    this.view.storyTools = () => this.#storyTools();
    this.editor = editorFor(subject);
    this.editor.addEventListener("change", () => this.setInput(this.editor.value()));
    this.lesion = new Lesion();
    this.lesion.addEventListener("change", () => this.#handsChanged());
    this.chips = make("ul", { className: "chips" });
    this.before = new AnswerPanel();
    this.before.element.classList.add("before");
    this.difference = make("section", { className: "difference", hidden: true, "aria-live": "polite" });
    this.swap = button("show before", "Show the run before the interventions", () => this.#swap(), { className: "toggle", hidden: true, "aria-pressed": "false" });
    this.view.side.prepend(make("h3", { className: "slot-name" }, name), this.difference);
    this.view.answer.element.after(this.before.element);
    this.panel = make("div", { className: "panel" }, this.#inputPart(), this.#handPart());
  }

  #inputPart() {
    const { models, rows } = this.subject;
    this.search = make("input", { type: "text", placeholder: `find among ${rows} test rows`, "aria-label": "Find a test row", on: { input: () => this.#listRows() } });
    this.list = make("select", { size: 5, "aria-label": "Test rows", className: "rows", on: { change: () => this.pick(Number(this.list.value)) } });
    this.modelList = choice("Model", models.map((model, index) => [String(index), model.name]), "0", (value) => {
      this.model = Number(value);
      this.run();
    });
    this.modelList.hidden = models.length < 2;
    this.boxField = make("input", { type: "text", "aria-label": "Box: width x height x depth in cells, empty for the input's own", placeholder: models[0].box.join("x"), on: { change: () => this.#setBox() } });
    return make("section", {}, make("h2", {}, "Input"), this.search, this.list, this.editor.element,
      make("div", { className: "line" }, this.modelList, make("label", { className: "line" }, "box", this.boxField)));
  }

  #handPart() {
    const row = make("input", { type: "number", min: 0, max: this.subject.rows - 1, value: 1, "aria-label": "Row whose routes are taken" });
    const noise = make("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0, "aria-label": "Noise on the energies", on: { change: () => this.#setNoise(Number(noise.value)) } });
    this.noise = noise;
    return make("section", {}, make("h2", {}, "Your hand"), this.chips, this.lesion.element,
      make("div", { className: "line" }, "routes of row", row, button("replay", "Let the flows take the routes of this row", () => this.#replayRow(Number(row.value)))),
      make("label", { className: "line" }, "noise", noise),
      make("p", { className: "note" }, "Click a flow to cut or freeze it."));
  }

  async #listRows() {
    clearTimeout(this.searching);
    await new Promise((done) => (this.searching = setTimeout(done, 150)));
    await this.#try(async () => {
      const rows = await ask(`/api/rows?search=${encodeURIComponent(this.search.value)}`);
      this.list.replaceChildren(...rows.map(({ row, name }) => make("option", { value: row }, name)));
    });
  }

  /** Fill the list of rows and begin with one. */
  async begin(row = 0) {
    this.view.begin();
    await this.#listRows();
    await this.pick(row);
  }

  /** Take a test row. */
  async pick(row) {
    await this.#try(async () => {
      const found = await ask(`/api/rows/${row}`);
      this.editor.load(found);
      this.row = row;
      if (![...this.list.options].some((option) => Number(option.value) === row)) {
        this.list.prepend(make("option", { value: row }, found.name || `row ${row}`));
      }
      this.list.value = String(row);
      await this.#take({ kind: "row", row });
    });
  }

  async setInput(input) {
    this.row = undefined;
    await this.#take(input);
  }

  async #take(input) {
    this.input = input;
    await this.run();
  }

  #setBox() {
    const text = this.boxField.value.trim();
    const sizes = text.split(/[x×]/i).map(Number);
    if (text && (sizes.length !== 3 || !sizes.every((size) => Number.isInteger(size) && size > 0))) {
      this.say("box: give width x height x depth, such as 13x13x158");
      return;
    }
    this.box = text ? sizes : null;
    this.run();
  }

  #setNoise(std) {
    this.hands = this.hands.filter((hand) => hand.kind !== "noise");
    if (std) this.hands.push({ kind: "noise", std, seed: 0 });
    this.#handsChanged();
  }

  async #replayRow(row) {
    await this.#try(async () => {
      const other = await ask("/api/run", { ...this.#request(), input: { kind: "row", row } });
      this.replay(other.run, `routes of row ${row}`);
    });
  }

  /** Let the flows take the routes of another run. */
  replay(run, words) {
    this.hands = [...this.hands.filter((hand) => hand.kind !== "replay"), { kind: "replay", run, words }];
    this.#handsChanged();
  }

  #storyTools() {
    const { paths, followed, time } = this.view;
    const flow = paths.records.flow[paths.first[followed]];
    const step = Math.floor(time) + 1;
    const later = Array.from({ length: Math.max(1, paths.steps - step + 1) }, (_, index) => step + index);
    const add = (hand) => {
      this.hands.push(hand);
      this.#handsChanged();
    };
    return [make("div", { className: "line" },
      button(`cut in step ${step}`, "The flow fades in this step", () => add({ kind: "cut", flows: [flow], steps: [step] })),
      button("freeze from here", "The flow keeps its energy and goes straight ahead", () => add({ kind: "freeze", flows: [flow], steps: later })))];
  }

  #handsChanged() {
    this.#showChips();
    this.view.stage.mark(this.lesion.cells);
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => this.#try(() => this.#runAfter()), WAIT);
  }

  #showChips() {
    this.chips.replaceChildren(...this.hands.map((hand) => make("li", {}, wordsOf(hand), button("×", `Take back: ${wordsOf(hand)}`, () => {
      this.hands = this.hands.filter((other) => other !== hand);
      if (hand.kind === "noise") this.noise.value = 0;
      this.#handsChanged();
    }))));
  }

  #request() {
    return { input: this.input, model: this.model, box: this.box };
  }

  /** What people did, as the server takes it. */
  get done() {
    const lesion = this.lesion.value();
    const others = this.hands.map(({ words, ...hand }) => hand);
    return lesion ? [lesion, ...others] : others;
  }

  /** Run the input as it is, and then with what people did to it. */
  run() {
    return this.#try(async () => {
      const mine = ++this.asked;
      const found = await ask("/api/run", { ...this.#request(), against: this.rival?.() });
      if (mine !== this.asked) return;
      this.base = found;
      this.after = null;
      this.apart = found.difference;
      this.#show(found);
      this.lesion.setPaths(this.view.paths);
      this.view.stage.mark(this.lesion.cells);
      if (this.done.length) await this.#runAfter();
    });
  }

  async #runAfter() {
    if (!this.base) return;
    const mine = ++this.asked;
    this.after = this.done.length ? await ask("/api/run", { ...this.#request(), hands: this.done, against: this.base.run }) : null;
    if (mine === this.asked) this.#show(this.after ?? this.base);
  }

  #swap() {
    const before = this.swap.getAttribute("aria-pressed") !== "true";
    this.#show(before ? this.base : this.after, before);
  }

  #show(found, asBefore = false) {
    this.shown = found;
    this.view.setScene(found.scene);
    this.swap.hidden = !this.after;
    this.swap.setAttribute("aria-pressed", String(asBefore));
    this.before.setAnswer(this.after && !asBefore ? this.base.scene.samples[0].answer : null);
    this.before.prefix = "Before";
    this.before.show(Math.floor(this.view.time));
    this.view.label.textContent = `${this.name}: ${found.scene.title}${asBefore ? " (before)" : ""}`;
    this.#compare();
    this.say("");
    this.dispatchEvent(new Event("shown"));
  }

  #compare() {
    const found = this.after?.difference ?? this.apart;
    this.difference.hidden = !found;
    if (!found) return;
    const facts = [["cosine", figure(found.cosine, 4)], ["RMS change", figure(found.rms)]];
    if (found.cells !== null) facts.push(["cells changed", String(found.cells)]);
    const [before, after] = [found.before, found.after];
    if (before && after && before[0] === after[0]) facts.push([after[0], `${figure(before[1])} → ${figure(after[1])}`]);
    this.difference.replaceChildren(make("h3", {}, this.after ? "After, against before" : "B, against A"),
      make("dl", { className: "facts big" }, facts.flatMap(([name, words]) => [make("dt", {}, name), make("dd", {}, words)])), this.swap);
  }

  async #try(work) {
    this.say("running", true);
    try {
      await work();
      this.say("");
    } catch (error) {
      this.say(`${this.name}: ${error.message}`);
    }
  }
}

function wordsOf(hand) {
  if (hand.words) return hand.words;
  if (hand.kind === "noise") return `noise ${hand.std}`;
  const when = hand.steps.length > 1 ? `from step ${hand.steps[0]}` : `in step ${hand.steps[0]}`;
  return `flow ${hand.flows[0]} ${hand.kind === "cut" ? "cut" : "frozen"} ${when}`;
}
