// The time: one for all views. Whole numbers are steps; between them flows are on their way.

const BASE = 9; // seconds that a run of average length takes at speed 1
export const SPEEDS = [["0.25", "¼ ×"], ["0.5", "½ ×"], ["1", "1 ×"], ["2", "2 ×"], ["4", "4 ×"]];

export class Player extends EventTarget {
  constructor() {
    super();
    this.steps = 1;
    this.time = 0;
    this.speed = 1;
    this.playing = false;
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  }

  setSteps(steps) {
    const atEnd = this.time === this.steps;
    this.steps = Math.max(1, steps);
    this.go(atEnd ? this.steps : Math.min(this.time, this.steps));
  }

  go(time) {
    this.time = Math.min(this.steps, Math.max(0, time));
    this.dispatchEvent(new Event("time"));
  }

  step(by) {
    this.pause();
    this.go(by > 0 ? Math.floor(this.time + 1e-6) + by : Math.ceil(this.time - 1e-6) + by);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    if (this.playing) return;
    this.playing = true;
    if (this.time >= this.steps) this.time = 0;
    this.dispatchEvent(new Event("state"));
    let last = performance.now(), held = this.time;
    const pace = Math.min(8, Math.max(0.9, this.steps / BASE)); // steps a second
    const tick = (now) => {
      if (!this.playing) return;
      held = Math.min(this.steps, held + Math.min(0.1, (now - last) / 1000) * pace * this.speed);
      last = now;
      const shown = this.calm.matches ? Math.floor(held) : held;
      if (shown !== this.time) this.go(shown);
      if (held >= this.steps) this.pause();
      else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.dispatchEvent(new Event("state"));
  }
}
