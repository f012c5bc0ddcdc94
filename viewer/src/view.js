// One scene as people see it: the canvas, the tip beside the pointer, the face maps, the answer, the story.

import { AnswerPanel } from "./answer.js";
import { button, make } from "./dom.js";
import { FaceMaps } from "./facemaps.js";
import { figuresOf, Legend } from "./legend.js";
import { ALL, Paths } from "./paths.js";
import { decode } from "./scene.js";
import { Stage } from "./stage.js";
import { flowTable, sentence, storyList, tell } from "./story.js";

export class View extends EventTarget {
  constructor(name = "") {
    super();
    this.canvas = make("canvas", { className: "stage", tabIndex: 0, role: "img", "aria-label": "The flows in their box; the table of flows says the same in words" });
    this.tip = make("div", { className: "tip", hidden: true });
    this.label = make("div", { className: "view-name" }, name);
    this.axis = make("div", { className: "axis", "aria-hidden": "true" }, make("span", {}, "input face"), make("span", {}, "z →"), make("span", {}, "output face"));
    this.element = make("section", { className: "view", "aria-label": name || "View" }, this.canvas, this.label, this.axis, this.tip);
    this.faces = new FaceMaps((site) => this.fan(site));
    this.legend = new Legend();
    this.figures = make("div", { className: "figures" });
    this.answer = new AnswerPanel();
    this.story = make("section", { className: "story", hidden: true });
    this.table = flowTable(() => this.paths, (flow) => this.follow(flow));
    this.side = make("div", { className: "side-view" }, this.faces.element, this.legend.element, this.figures, this.answer.element, this.story, this.table.element);
    this.look = { colouring: "level", theme: "dark", traffic: false };
    this.followed = -1;
    this.site = -1; // whose flows are shown alone
    [this.time, this.trail] = [0, 0];
  }

  /** Begin to draw; the element must be in the page. */
  begin() {
    this.stage = new Stage(this.canvas, () => this.dispatchEvent(new Event("look")));
    let down = null;
    this.canvas.addEventListener("pointerdown", (event) => (down = [event.clientX, event.clientY]));
    this.canvas.addEventListener("pointermove", (event) => this.#hover(event));
    this.canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
    this.canvas.addEventListener("click", (event) => {
      if (down && Math.hypot(event.clientX - down[0], event.clientY - down[1]) < 5) this.follow(this.#under(event));
    });
  }

  /** Show a scene; `raw` is what the Python package wrote. */
  setScene(raw, sample = 0) {
    const first = !this.scene;
    const before = this.scene && JSON.stringify([this.scene.box, this.scene.sites]);
    this.scene = decode(raw);
    this.setSample(sample);
    if (first || before !== JSON.stringify([this.scene.box, this.scene.sites])) this.stage.lookFrom(-0.62, 0.42, 1);
  }

  setSample(sample) {
    this.sample = sample === ALL || sample < this.scene.samples.length ? sample : 0;
    this.paths = new Paths(this.scene, this.sample);
    this.answer.setAnswer(this.sample === ALL ? null : this.scene.samples[this.sample]?.answer);
    this.stage.setPaths(this.paths);
    if (this.followed >= this.paths.flows) this.followed = -1;
    this.table.fill();
    this.paint();
    this.show(Math.min(this.time, this.paths.steps), this.trail);
    this.stage.judge();
  }

  /** Change the look: colouring, theme, traffic. */
  paint(changes = {}) {
    Object.assign(this.look, changes);
    if (!this.paths) return;
    this.stage.paint({ ...this.look, family: this.#chosen() });
    this.legend.show(this.paths, this.look);
    this.#tell();
    this.faces.show(this.paths, Math.floor(this.time), this.look.theme);
    this.answer.row = undefined;
    this.answer.show(Math.floor(this.time));
  }

  /** Go to a time, in steps. */
  show(time, trail) {
    const stepped = Math.floor(time) !== Math.floor(this.time);
    [this.time, this.trail] = [time, trail];
    this.stage.show(time, trail);
    if (!stepped && this.shownStep === Math.floor(time)) return;
    this.shownStep = Math.floor(time);
    this.faces.show(this.paths, this.shownStep, this.look.theme);
    this.answer.show(this.shownStep);
    this.figures.replaceChildren(figuresOf(this.paths, this.shownStep));
  }

  /** Follow a flow with its family; -1 lets go. */
  follow(flow) {
    this.followed = flow === this.followed ? -1 : flow;
    this.site = -1;
    this.paint();
    this.dispatchEvent(new Event("follow"));
  }

  /** Show the flows that were launched at a site, and their families, before all others; the same site again lets go. */
  fan(site) {
    this.site = site === this.site ? -1 : site;
    this.followed = -1;
    this.paint();
    this.dispatchEvent(new Event("follow"));
  }

  #chosen() {
    if (this.site >= 0) return this.paths.launchedAt(this.site);
    return this.followed < 0 ? null : this.paths.family(this.followed);
  }

  sentence() {
    return sentence(this.paths, Math.floor(this.time + 1e-6));
  }

  #tell() {
    this.story.hidden = this.followed < 0 && this.site < 0;
    if (this.story.hidden) return;
    const release = button("let go", "Show all flows alike (Esc)", () => (this.site < 0 ? this.follow(-1) : this.fan(this.site)));
    if (this.site >= 0) {
      const { columns } = this.paths.lattice;
      const words = `Flows from site ${this.site} (${this.site % columns}, ${Math.floor(this.site / columns)}), and their children`;
      this.story.replaceChildren(make("h3", {}, words), make("div", { className: "line" }, release));
      return;
    }
    const origin = this.paths.origin[this.followed];
    const fan = button(`all from site ${origin}`, "Show all flows that were launched at this site", () => this.fan(origin));
    this.story.replaceChildren(make("h3", {}, "Followed flow"), storyList(tell(this.paths, this.followed)),
      make("div", { className: "line" }, fan, release), ...(this.storyTools?.(this) ?? []));
  }

  #under(event) {
    const place = this.canvas.getBoundingClientRect();
    return this.stage.find(event.clientX - place.left, event.clientY - place.top);
  }

  #hover(event) {
    if (event.buttons || this.looking) return;
    this.looking = true;
    requestAnimationFrame(() => {
      this.looking = false;
      const flow = this.#under(event);
      this.tip.hidden = flow < 0;
      this.canvas.style.cursor = flow < 0 ? "grab" : "pointer";
      if (flow < 0) return;
      this.tip.replaceChildren(storyList(tell(this.paths, flow)));
      const place = this.element.getBoundingClientRect();
      const left = Math.min(event.clientX - place.left + 14, place.width - this.tip.offsetWidth - 8);
      const top = Math.min(event.clientY - place.top + 14, place.height - this.tip.offsetHeight - 8);
      this.tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
    });
  }
}
