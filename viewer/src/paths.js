// What the records of one sample, or of all of them, say about flows: their paths, families and figures by step.

import { EVENTS } from "./scene.js";

export const ALL = -1;

/** The flows of a sample (or of all, `ALL`), numbered anew; records stay in order of time. */
export class Paths {
  constructor(scene, sample) {
    this.scene = scene;
    this.lattice = scene.lattice;
    this.sample = sample;
    this.records = pick(scene.records, sample);
    this.count = this.records.step.length;
    this.steps = scene.count ? scene.records.step[scene.count - 1] : 0;
    this.#joinRecords();
    this.#relate();
    this.#countByStep();
  }

  #joinRecords() {
    const { flow, sample } = this.records;
    const known = new Map();
    this.flowOf = new Uint32Array(this.count); // of a record
    this.before = new Int32Array(this.count).fill(-1); // the flow's record one step earlier
    this.after = new Int32Array(this.count).fill(-1);
    const first = [], last = [];
    for (let record = 0; record < this.count; record++) {
      const key = sample[record] * 0x100000000 + flow[record];
      let index = known.get(key);
      if (index === undefined) {
        index = first.length;
        known.set(key, index);
        first.push(record);
      } else {
        this.before[record] = last[index];
        this.after[last[index]] = record;
      }
      last[index] = record;
      this.flowOf[record] = index;
    }
    this.known = known;
    this.flows = first.length;
    this.first = Uint32Array.from(first);
    this.last = Uint32Array.from(last);
  }

  #relate() {
    const { parent, sample, x, y } = this.records;
    this.parent = new Int32Array(this.flows).fill(-1);
    this.origin = new Uint32Array(this.flows); // launch site of the family
    this.generation = new Uint8Array(this.flows);
    this.children = Array.from({ length: this.flows }, () => []);
    for (let flow = 0; flow < this.flows; flow++) {
      const record = this.first[flow];
      const mother = this.known.get(sample[record] * 0x100000000 + parent[record]);
      if (parent[record] < 0 || mother === undefined) {
        this.origin[flow] = this.lattice.siteOf(x[record], y[record]);
        continue;
      }
      this.parent[flow] = mother;
      this.children[mother].push(flow);
      this.origin[flow] = this.origin[mother];
      this.generation[flow] = Math.min(255, this.generation[mother] + 1);
    }
  }

  #countByStep() {
    const { step, level, event } = this.records;
    const size = this.steps + 1;
    this.from = new Uint32Array(size + 1); // first record of a step
    this.live = new Float32Array(size);
    this.meanLevel = new Float32Array(size);
    this.arrived = new Uint32Array(size); // until then
    this.faded = new Uint32Array(size);
    this.born = new Uint32Array(size);
    let highest = [];
    for (let record = 0; record < this.count; record++) {
      const at = step[record];
      this.from[at + 1] = record + 1;
      this.meanLevel[at] += level[record];
      if (event[record] === EVENTS.ARRIVED) this.arrived[at]++;
      else if (event[record] === EVENTS.FADED) this.faded[at]++;
      else this.live[at]++;
      if (event[record] === EVENTS.BORN) this.born[at]++;
      if (record % Math.max(1, Math.floor(this.count / 4000)) === 0) highest.push(level[record]);
    }
    for (let at = 0; at < size; at++) {
      this.from[at + 1] = Math.max(this.from[at + 1], this.from[at]);
      this.meanLevel[at] /= Math.max(1, this.from[at + 1] - this.from[at]);
      if (at) for (const figure of [this.arrived, this.faded, this.born]) figure[at] += figure[at - 1];
    }
    highest = highest.sort((one, other) => one - other);
    this.highestLevel = highest.length ? Math.max(1e-6, highest[Math.floor(0.985 * (highest.length - 1))]) : 1;
  }

  /** The records of a flow, in order of time. */
  story(flow) {
    const found = [];
    for (let record = this.first[flow]; record >= 0; record = this.after[record]) found.push(record);
    return found;
  }

  /** The flow, its ancestors and all that descend from it. */
  family(flow) {
    const found = new Set([flow]);
    for (let mother = this.parent[flow]; mother >= 0; mother = this.parent[mother]) found.add(mother);
    const waiting = [flow];
    while (waiting.length) {
      for (const child of this.children[waiting.pop()]) {
        if (!found.has(child)) waiting.push(child);
        found.add(child);
      }
    }
    return found;
  }

  /** The flows of all families that were launched at a site. */
  launchedAt(site) {
    const found = new Set();
    for (let flow = 0; flow < this.flows; flow++) if (this.origin[flow] === site) found.add(flow);
    return found;
  }

  /** The record of a flow at a step, or -1 where it does not live then. */
  recordAt(flow, step) {
    const steps = this.records.step;
    for (let record = this.first[flow]; record >= 0; record = this.after[record]) {
      if (steps[record] === step) return record;
    }
    return -1;
  }

  /** What each site holds: (S) launch levels, levels of the columns at a step, and what has arrived until then. */
  faces(step) {
    if (this.facesAt?.step !== step) this.facesAt = { step, values: this.#faces(step) };
    return this.facesAt.values;
  }

  #faces(step) {
    const { x, y, level, mass, event } = this.records;
    const size = this.lattice.siteCount;
    const found = { input: new Float32Array(size), now: new Float32Array(size), output: new Float32Array(size) };
    const masses = { now: new Float32Array(size), output: new Float32Array(size) };
    for (let record = 0; record < this.from[1]; record++) {
      if (event[record] === EVENTS.LAUNCHED) found.input[this.lattice.siteOf(x[record], y[record])] += level[record];
    }
    const until = this.from[step + 1];
    for (let record = 0; record < until; record++) {
      const arrived = event[record] === EVENTS.ARRIVED;
      const here = record >= this.from[step] && event[record] !== EVENTS.FADED && !arrived;
      if (!arrived && !here) continue;
      const [values, weights] = arrived ? [found.output, masses.output] : [found.now, masses.now];
      const site = this.lattice.siteOf(x[record], y[record]);
      values[site] += level[record];
      weights[site] += mass[record];
    }
    for (const name of ["now", "output"]) {
      for (let site = 0; site < size; site++) found[name][site] /= Math.max(1, masses[name][site]);
    }
    return found;
  }

  /** Cells that flows stood in, each with how often and at which step first: arrays of equal length. */
  traffic() {
    const { x, y, z, step } = this.records;
    const { width, height, depth } = this.lattice;
    const seen = new Map();
    for (let record = 0; record < this.count; record++) {
      const cell = [this.lattice.cell(x[record], width), this.lattice.cell(y[record], height)];
      const deep = this.lattice.cell(z[record], depth);
      const key = (deep * height + cell[1]) * width + cell[0];
      const found = seen.get(key);
      if (found) found.visits++;
      else seen.set(key, { x: cell[0], y: cell[1], z: deep, visits: 1, step: step[record] });
    }
    return [...seen.values()].sort((one, other) => one.step - other.step);
  }
}

function pick(records, sample) {
  if (sample === ALL) return records;
  const rows = [];
  for (let record = 0; record < records.sample.length; record++) if (records.sample[record] === sample) rows.push(record);
  const picked = {};
  for (const [name, values] of Object.entries(records)) {
    picked[name] = rows.length === values.length ? values : values.constructor.from(rows, (row) => values[row]);
  }
  return picked;
}
