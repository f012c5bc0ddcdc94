// The bar below: play, step, speed, and a chart of live flows and mean level that is the slider at the same time.

import { brush, button, choice, figure, ink, make } from "./dom.js";
import { SPEEDS } from "./player.js";

const EDGE = 8; // pixels beside the chart, where the slider's thumb has its place
const TRAILS = [["0", "whole paths"], ["12", "last 12 steps"], ["4", "last 4 steps"], ["1.5", "last step"]];

export class Timeline {
  constructor(player, trailChanged) {
    this.player = player;
    this.play = button("▶", "Play (space)", () => player.toggle(), { className: "play" });
    this.chart = make("canvas", { className: "chart" });
    this.cursor = make("div", { className: "cursor" });
    this.legend = [make("span", { className: "live" }), make("span", { className: "level" })];
    this.slider = make("input", {
      type: "range", min: 0, max: 1, step: "any", className: "scrub", "aria-label": "Step", on: { input: () => this.#scrub() },
    });
    this.clock = make("output", { className: "clock", "aria-hidden": "true" });
    this.trail = choice("Paths that stay in sight", TRAILS, "0", (value) => trailChanged(Number(value)));
    this.speed = choice("Speed", SPEEDS, "1", (value) => (player.speed = Number(value)));
    this.element = make("footer", { className: "timeline" },
      make("div", { className: "buttons" },
        button("«", "To the launch (Home)", () => { player.pause(); player.go(0); }),
        button("‹", "One step back (←)", () => player.step(-1)),
        this.play,
        button("›", "One step on (→)", () => player.step(1)),
        button("»", "To the end (End)", () => { player.pause(); player.go(player.steps); })),
      make("div", { className: "track" }, this.chart, make("div", { className: "legend", "aria-hidden": "true" }, this.legend), this.cursor, this.slider),
      make("div", { className: "buttons" }, this.clock, this.speed, this.trail));
    player.addEventListener("time", () => this.#move());
    player.addEventListener("state", () => {
      this.play.textContent = player.playing ? "❚❚" : "▶";
      this.play.setAttribute("aria-label", player.playing ? "Pause (space)" : "Play (space)");
    });
    new ResizeObserver(() => this.draw()).observe(this.chart);
  }

  #scrub() {
    this.player.pause();
    const value = Number(this.slider.value);
    const nearest = Math.round(value);
    this.player.go(Math.abs(value - nearest) < 0.12 ? nearest : value);
  }

  #move() {
    const { time, steps } = this.player;
    this.slider.max = steps;
    this.slider.value = time;
    this.slider.setAttribute("aria-valuetext", `step ${Math.floor(time)} of ${steps}`);
    const step = Math.floor(time + 1e-6);
    this.cursor.style.transform = `translateX(${EDGE + (this.chart.clientWidth - 2 * EDGE) * (time / steps)}px)`;
    if (step === this.step) return;
    this.step = step;
    this.clock.textContent = `step ${step} / ${steps}`;
    const paths = this.all?.[0];
    if (!paths) return;
    this.legend[0].textContent = `live flows ${figure(paths.live[step] ?? 0)}`;
    this.legend[1].textContent = `mean level ${figure(paths.meanLevel[step] ?? 0)}`;
  }

  /** Show the figures of one run, or of two that are compared. */
  setPaths(all) {
    this.all = all;
    this.step = undefined;
    this.#move();
    this.draw();
  }

  draw() {
    if (!this.all?.length || !this.chart.clientWidth) return;
    const { pen, width, height } = brush(this.chart);
    const steps = this.player.steps;
    const live = Math.max(...this.all.map((paths) => Math.max(...paths.live)), 1);
    const level = Math.max(...this.all.map((paths) => Math.max(...paths.meanLevel)), 1e-6);
    const across = (step) => EDGE + ((width - 2 * EDGE) * step) / steps;
    const down = (share) => height - 4 - share * (height - 20);
    this.all.forEach((paths, number) => {
      const line = (values, highest, colour, filled) => {
        pen.beginPath();
        values.forEach((value, step) => pen.lineTo(across(step), down(value / highest)));
        pen.strokeStyle = ink(colour);
        pen.lineWidth = 1.6;
        pen.setLineDash(number ? [4, 3] : []);
        pen.stroke();
        if (!filled || number) return;
        pen.lineTo(across(values.length - 1), height);
        pen.lineTo(EDGE, height);
        pen.globalAlpha = 0.16;
        pen.fillStyle = ink(colour);
        pen.fill();
        pen.globalAlpha = 1;
      };
      line(paths.live, live, "first", true);
      line(paths.meanLevel, level, "second", false);
    });
    this.#move();
  }
}
