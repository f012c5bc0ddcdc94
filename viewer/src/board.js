// What a page with one view or two shares: the bar above, the timeline below, keys, theme and the link.

import { button, choice, make } from "./dom.js";
import { answerOf } from "./flows.js";
import { readLink, writeLink } from "./link.js";
import { ALL } from "./paths.js";
import { Player } from "./player.js";
import { Timeline } from "./timeline.js";

const COLOURINGS = [["level", "colour: level"], ["origin", "colour: origin"], ["class", "colour: class"], ["answer", "colour: answer"]];
const KEYS = [
  ["space", "play, pause"], ["← →", "one step"], ["Home End", "launch, end"], ["[ ]", "slower, faster"],
  ["W A S D", "orbit"], ["+ −", "nearer, farther"], ["0", "the whole box"], ["C", "colouring"], ["V", "traffic of the cells"],
  ["P", "paths that stay"], ["T", "dark, light"], ["Esc", "let go of a flow or a site"], ["?", "these keys"],
];
const TURN = 0.12;

export class Board {
  constructor(views) {
    this.views = views;
    this.player = new Player();
    this.timeline = new Timeline(this.player, (steps) => this.setTrail(steps));
    this.trail = 0;
    this.look = { colouring: "level", theme: preferredTheme(), traffic: false };
    this.live = make("p", { className: "hidden", "aria-live": "polite" });
    this.colouring = choice("Colouring", COLOURINGS, "level", (value) => this.setLook({ colouring: value }));
    this.sampleList = choice("Sample", [], "", (value) => this.setSample(Number(value)));
    this.traffic = button("traffic", "Traffic of the cells (V)", () => this.setLook({ traffic: !this.look.traffic }), { className: "toggle" });
    this.themeButton = button("◐", "Dark or light (T)", () => this.#turnTheme());
    this.help = keysDialog();
    this.tools = make("div", { className: "tools" }, this.sampleList, this.colouring, this.traffic,
      button("⤢", "See the whole box (0)", () => this.wholeBox()), this.themeButton, button("?", "Keys", () => this.help.showModal()));
    this.player.addEventListener("time", () => this.#show());
    this.player.addEventListener("state", () => this.#say());
    addEventListener("keydown", (event) => this.#key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.setLook({ theme: preferredTheme() }));
    for (const view of views) {
      view.addEventListener("look", () => this.#looked(view));
      view.addEventListener("follow", () => this.#remember());
    }
  }

  /** Take up what the address says, once the scenes are there. */
  open() {
    const link = readLink();
    const { colouring, theme, traffic } = link;
    if (link.sample !== undefined) this.setSample(link.sample);
    this.setLook({
      ...(COLOURINGS.some(([name]) => name === colouring) ? { colouring } : {}),
      ...(["dark", "light"].includes(theme) ? { theme } : {}),
      ...(traffic === undefined ? {} : { traffic: Boolean(traffic) }),
    });
    this.refresh();
    if (link.trail !== undefined) this.setTrail(link.trail);
    if (link.view) for (const view of this.views) view.stage.view = link.view;
    if (link.followed >= 0 && link.followed < this.views[0].paths.flows) this.views[0].follow(link.followed);
    if (link.time !== undefined) this.player.go(link.time);
    else if (this.player.calm.matches) this.player.go(this.player.steps);
    else this.player.play();
  }

  /** After scenes changed: lists, steps and charts. */
  refresh() {
    const shown = this.views.filter((view) => view.paths && !view.element.hidden);
    if (!shown.length) return;
    const { samples, classes } = shown[0].scene;
    const options = samples.map((sample, index) => [String(index), nameOf(sample, classes)]);
    if (samples.length > 1) options.push([String(ALL), "all samples"]);
    this.sampleList.replaceChildren(...options.map(([value, words]) => make("option", { value, selected: Number(value) === shown[0].sample }, words)));
    this.sampleList.hidden = options.length < 2;
    const named = (classes?.length ?? 0) > 1;
    const possible = { level: true, origin: true, class: named, answer: Boolean(answerOf(shown[0].paths)) };
    for (const option of this.colouring.options) option.hidden = !possible[option.value];
    if (!possible[this.look.colouring]) this.setLook({ colouring: "level" });
    this.timeline.setPaths(shown.map((view) => view.paths));
    this.player.setSteps(Math.max(...shown.map((view) => view.paths.steps)));
  }

  setLook(changes) {
    Object.assign(this.look, changes);
    document.documentElement.dataset.theme = this.look.theme;
    this.colouring.value = this.look.colouring;
    this.traffic.setAttribute("aria-pressed", String(this.look.traffic));
    for (const view of this.views) view.paint(this.look);
    this.timeline.draw();
    this.changed?.();
    this.#remember();
  }

  setSample(sample) {
    for (const view of this.views) if (view.scene) view.setSample(sample);
    this.refresh();
    this.#remember();
  }

  setTrail(steps) {
    this.trail = steps;
    const known = [...this.timeline.trail.options].some((option) => Number(option.value) === steps);
    if (known) this.timeline.trail.value = String(steps);
    this.#show();
  }

  wholeBox() {
    for (const view of this.views) view.stage?.lookFrom(-0.62, 0.42, 1);
  }

  #turnTheme() {
    this.setLook({ theme: this.look.theme === "dark" ? "light" : "dark" });
  }

  #show() {
    for (const view of this.views) if (view.paths) view.show(Math.min(this.player.time, view.paths.steps), this.trail);
    if (!this.player.playing) this.#say();
    this.#remember();
  }

  #say() {
    if (this.player.playing) return;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => {
      const shown = this.views.filter((view) => view.paths && !view.element.hidden);
      this.live.textContent = shown.map((view) => view.sentence()).join(" ");
    }, 250);
  }

  #looked(view) {
    if (this.turning || !view.stage) return;
    this.turning = true;
    for (const other of this.views) if (other !== view && other.stage) other.stage.view = view.stage.view;
    this.turning = false;
    this.#remember();
  }

  #remember() {
    clearTimeout(this.remembering);
    this.remembering = setTimeout(() => {
      const [view] = this.views;
      if (!view.paths || this.player.playing) return;
      const { colouring, theme, traffic } = this.look;
      writeLink({
        time: Number(this.player.time.toFixed(2)), colouring, sample: view.sample, view: view.stage.view,
        traffic: traffic ? 1 : 0, trail: this.trail, theme: theme === preferredTheme() ? null : theme,
        followed: view.followed < 0 ? null : view.followed, ...this.extra?.(),
      });
    }, 200);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.help.open) return;
    if (event.target.closest?.("input:not(.scrub), textarea, select, dialog")) return;
    if (event.key === " " && event.target.closest?.("button, summary")) return;
    const press = this.#keys()[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!press) return;
    event.preventDefault();
    press();
  }

  #keys() {
    const turn = (aside, up, nearer) => () => this.views.forEach((view) => view.stage?.move(aside, up, nearer));
    const next = (list) => () => {
      const open = [...list.options].filter((option) => !option.hidden);
      const place = open.findIndex((option) => option.value === list.value);
      list.value = open[(place + 1) % open.length].value;
      list.dispatchEvent(new Event("change"));
    };
    const speed = (by) => () => {
      const list = this.timeline.speed;
      list.selectedIndex = Math.min(list.options.length - 1, Math.max(0, list.selectedIndex + by));
      this.player.speed = Number(list.value);
    };
    return {
      " ": () => this.player.toggle(), ArrowLeft: () => this.player.step(-1), ArrowRight: () => this.player.step(1),
      Home: () => { this.player.pause(); this.player.go(0); }, End: () => { this.player.pause(); this.player.go(this.player.steps); },
      "[": speed(-1), "]": speed(1), a: turn(-TURN, 0), d: turn(TURN, 0), w: turn(0, TURN), s: turn(0, -TURN),
      "+": turn(0, 0, 1.15), "=": turn(0, 0, 1.15), "-": turn(0, 0, 1 / 1.15), 0: () => this.wholeBox(),
      c: next(this.colouring), v: () => this.setLook({ traffic: !this.look.traffic }), p: next(this.timeline.trail),
      t: () => this.#turnTheme(), "?": () => this.help.showModal(),
      Escape: () => this.views.forEach((view) => (view.followed >= 0 || view.site >= 0) && view.follow(-1)),
    };
  }
}

function nameOf(sample, classes) {
  return sample.label !== null && sample.label !== undefined && classes?.[sample.label] ? `${sample.name} · ${classes[sample.label]}` : sample.name;
}

function preferredTheme() {
  return matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
}

function keysDialog() {
  const dialog = make("dialog", { className: "keys", "aria-label": "Keys" });
  dialog.append(
    make("h2", {}, "Keys and pointer"),
    make("dl", { className: "facts" }, KEYS.flatMap(([key, words]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, words)])),
    make("p", {}, "Drag to orbit, wheel to come nearer, right drag to shift. Point at a flow for its story, click to follow it with its family. z is drawn to a scale of its own."),
    make("form", { method: "dialog" }, make("button", {}, "Close")),
  );
  return dialog;
}
