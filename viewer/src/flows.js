// The flows as the graphics card has them: two buffers of moves (thin and wide) and one of points, drawn by ranges.

import {
  AdditiveBlending, BufferAttribute, BufferGeometry, DataTexture, DoubleSide, LinearFilter, LineSegments, Mesh, NearestFilter,
  NormalBlending, Points, RGBAFormat, ShaderMaterial, GLSL3, UnsignedByteType, Vector2,
} from "three";
import { bandBytes, classColour, rampBytes, siteColour } from "./colours.js";
import { readAt } from "./answer.js";
import { ALL } from "./paths.js";
import { EVENTS } from "./scene.js";
import { HEAD_FRAGMENT, HEAD_VERTEX, SEGMENT_FRAGMENT, SEGMENT_VERTEX } from "./shaders.js";

const TABLE_WIDTH = 1024;
const MOST_WIDE = 20000; // moves up to which they are drawn as ribbons; more are thin lines
const SKETCHED = 10000; // moves in the sketch of a large run, which is drawn while it moves
const APART = 0.3, GOLDEN = 2.39996; // of a site; the angle from one sample to the next
const PLAIN = 128, FOLLOWED = 255, ASIDE = 0; // the flag of a flow in the table

export class FlowDrawing {
  constructor(paths) {
    this.paths = paths;
    this.#moves();
    this.table = table(Math.ceil(Math.max(1, paths.flows) / TABLE_WIDTH));
    this.ramp = new DataTexture(rampBytes("dark"), 256, 1, RGBAFormat, UnsignedByteType);
    this.ramp.minFilter = this.ramp.magFilter = LinearFilter;
    this.shared = {
      time: { value: 0 }, trail: { value: 0 }, past: { value: 0 }, highest: { value: paths.highestLevel },
      byLevel: { value: 1 }, dimmed: { value: 1 }, flowTable: { value: this.table }, ramp: { value: this.ramp },
      viewport: { value: new Vector2(1, 1) }, thickness: { value: 2 }, opacity: { value: 0.8 },
      share: { value: 0 }, size: { value: 30 }, glow: { value: 1 },
    };
    const wide = this.count <= MOST_WIDE;
    this.corners = wide ? 6 : 2; // of a move, as the graphics card counts them
    this.trails = this.layers.map((layer) =>
      wide
        ? new Mesh(this.#geometry(layer, 4), this.#material(SEGMENT_VERTEX, SEGMENT_FRAGMENT, { WIDE: 1 }))
        : new LineSegments(this.#geometry(layer, 2), this.#material(SEGMENT_VERTEX, SEGMENT_FRAGMENT)));
    this.heads = new Points(this.#points(), this.#material(HEAD_VERTEX, HEAD_FRAGMENT));
    this.objects = [...this.trails, this.heads];
    this.objects.forEach((object, order) => Object.assign(object, { frustumCulled: false, renderOrder: 1 + order }));
  }

  /** Which moves there are, in order of time: those of some flows, the sketch, and those of the others. */
  #moves() {
    const { before, count, records, flowOf, lattice } = this.paths;
    const rows = [];
    for (let record = 0; record < count; record++) if (before[record] >= 0) rows.push(record);
    this.count = rows.length;
    this.stride = Math.max(1, Math.ceil(rows.length / (rows.length <= MOST_WIDE ? MOST_WIDE : SKETCHED)));
    this.all = this.#layer(rows);
    const sketch = rows.filter((record) => flowOf[record] % this.stride === 0);
    const others = rows.filter((record) => flowOf[record] % this.stride);
    this.layers = this.stride === 1 ? [this.all] : [this.#layer(sketch), this.#layer(others)];
    this.places = new Float32Array(3 * count);
    for (let record = 0; record < count; record++) {
      const [aside, down] = this.#apart(records.sample[record]);
      this.places.set(lattice.place(records.x[record] + aside, records.y[record] + down, records.z[record]), 3 * record);
    }
  }

  /** How far a sample is drawn beside its cells, in cells, where several are drawn at once: within its site. */
  #apart(sample) {
    if (this.paths.sample !== ALL) return [0, 0];
    const { width, height, columns, rows } = this.paths.lattice;
    const far = APART * Math.sqrt((sample + 0.5) / this.paths.scene.samples.length);
    return [(far * Math.cos(GOLDEN * sample) * width) / columns, (far * Math.sin(GOLDEN * sample) * height) / rows];
  }

  /** Moves by the records that they lead to, and where those of each step begin. */
  #layer(rows) {
    const from = new Uint32Array(this.paths.steps + 3);
    rows.forEach((record, index) => (from[this.paths.records.step[record] + 1] = index + 1));
    for (let step = 1; step < from.length; step++) from[step] = Math.max(from[step], from[step - 1]);
    return { moves: Uint32Array.from(rows), from };
  }

  #geometry({ moves }, corners) {
    const { before, records, flowOf } = this.paths;
    const size = moves.length;
    const start = new Float32Array(4 * corners * size), end = new Float32Array(4 * corners * size);
    const about = new Float32Array(3 * corners * size);
    for (let move = 0; move < size; move++) {
      const to = moves[move], from = before[to];
      for (let at = corners * move; at < corners * (move + 1); at++) {
        put(start, at, this.places, from, records.level[from]);
        put(end, at, this.places, to, records.level[to]);
        about[3 * at] = records.mass[to];
        about[3 * at + 1] = flowOf[to];
        about[3 * at + 2] = records.step[to];
      }
    }
    const geometry = geometryOf(start, end, about);
    if (corners === 4) geometry.setIndex(new BufferAttribute(quads(size), 1));
    return geometry;
  }

  #points() {
    const { after, count, records, flowOf } = this.paths;
    const start = new Float32Array(4 * count), end = new Float32Array(4 * count), about = new Float32Array(3 * count);
    for (let record = 0; record < count; record++) {
      const next = after[record] < 0 ? record : after[record];
      put(start, record, this.places, record, records.level[record]);
      put(end, record, this.places, next, records.level[next]);
      about[3 * record] = records.mass[record];
      about[3 * record + 1] = flowOf[record];
      const event = records.event[record];
      about[3 * record + 2] = event === EVENTS.ARRIVED || event === EVENTS.FADED ? 1 : 0;
    }
    return geometryOf(start, end, about);
  }

  #material(vertexShader, fragmentShader, defines = {}) {
    return new ShaderMaterial({
      vertexShader, fragmentShader, defines, uniforms: this.shared, glslVersion: GLSL3,
      side: DoubleSide, transparent: true, depthWrite: false, depthTest: false,
    });
  }

  /** Show what there is at a time, in steps; between two whole ones flows are on their way. */
  show(time, trail) {
    const { steps, from } = this.paths;
    const step = Math.min(steps, Math.floor(time));
    const share = Math.min(1, time - step);
    this.layers.forEach((layer, number) => {
      const reached = layer.from[Math.min(steps, Math.ceil(time)) + 1];
      const oldest = trail ? layer.from[Math.max(0, step - Math.ceil(6 * trail))] : 0;
      this.trails[number].geometry.setDrawRange(this.corners * oldest, this.corners * (reached - oldest));
    });
    this.heads.geometry.setDrawRange(from[step], from[step + 1] - from[step]);
    this.shared.time.value = time;
    this.shared.share.value = share;
    this.shared.trail.value = trail;
  }

  /** Draw the paths of some flows alone, while a large run moves on a slow graphics card, or those of all. */
  sketch(alone) {
    if (this.layers.length < 2) return;
    this.trails[1].visible = !alone;
    this.shared.opacity.value = alone ? Math.min(0.9, this.opacity * Math.sqrt(this.stride)) : this.opacity;
  }

  /** Colour by level, class or origin; the followed family stands out. */
  paint(colouring, theme, family) {
    const { flows, lattice, origin, generation, records, first, scene } = this.paths;
    const bytes = this.table.image.data;
    for (let flow = 0; flow < flows; flow++) {
      const label = scene.samples[records.sample[first[flow]]]?.label ?? 0;
      const site = origin[flow];
      const place = [site % lattice.columns, Math.floor(site / lattice.columns), lattice.columns, lattice.rows];
      const colour = colouring === "class" ? classColour(label) : siteColour(...place, theme, generation[flow]);
      bytes.set(colour, 4 * flow);
      bytes[4 * flow + 3] = !family ? PLAIN : family.has(flow) ? FOLLOWED : ASIDE;
    }
    this.table.needsUpdate = true;
    const answer = colouring === "answer" ? answerOf(this.paths) : null;
    this.#value(answer);
    this.ramp.image.data.set(answer ? bandBytes(answer.classes, theme) : rampBytes(theme));
    this.ramp.needsUpdate = true;
    this.shared.byLevel.value = colouring === "level" || answer ? 1 : 0;
    this.shared.dimmed.value = family ? 0.1 : 1;
    const dark = theme === "dark";
    this.shared.glow.value = dark ? 1 : 0.35;
    const crowd = Math.min(1, (600 / Math.max(1, this.count)) ** 0.5);
    const bright = answer ? 1.9 : 1; // most classes of an answer are dim
    this.opacity = Math.min(0.9, bright * (dark ? 0.015 + 0.75 * crowd : 0.06 + 0.66 * crowd));
    this.shared.opacity.value = this.opacity;
    for (const object of this.objects) object.material.blending = dark ? AdditiveBlending : NormalBlending;
  }

  /** What the fourth number of every place says: the level, or what is read at the flow's site. */
  #value(answer) {
    if (this.valued === answer) return;
    this.valued = answer;
    const { records, before, after, count, lattice } = this.paths;
    const band = (record) => (answer.at(records.step[record], lattice.siteOf(records.x[record], records.y[record])) + 0.5) / answer.classes;
    const values = answer ? Float32Array.from({ length: count }, (_, record) => band(record)) : records.level;
    const set = (object, corners, at, from, to) => {
      const { start, end } = object.geometry.attributes;
      for (let corner = corners * at; corner < corners * (at + 1); corner++) {
        start.array[4 * corner + 3] = values[from];
        end.array[4 * corner + 3] = values[to];
      }
    };
    const corners = this.corners === 6 ? 4 : 2;
    this.layers.forEach(({ moves }, layer) => moves.forEach((record, move) => set(this.trails[layer], corners, move, answer ? record : before[record], record)));
    for (let record = 0; record < count; record++) set(this.heads, 1, record, record, answer || after[record] < 0 ? record : after[record]);
    for (const { geometry } of this.objects) for (const name of ["start", "end"]) geometry.attributes[name].needsUpdate = true;
    this.shared.highest.value = answer ? 1 : this.paths.highestLevel;
  }

  resize(width, height, ratio) {
    this.shared.viewport.value.set(width, height);
    const crowd = Math.max(0.25, Math.min(1, Math.sqrt(80 / Math.max(1, this.paths.from[1]))));
    this.shared.thickness.value = 3.4 * ratio * (0.4 + 0.6 * crowd);
    this.shared.size.value = 0.11 * height * (0.25 + 0.75 * crowd);
  }

  dispose() {
    for (const object of this.objects) {
      object.geometry.dispose();
      object.material.dispose();
    }
    this.table.dispose();
    this.ramp.dispose();
  }
}

const ANSWERS = new WeakMap();

/** The classes that are read at the sites, where an answer has a cell for each site, or else null. */
export function answerOf(paths) {
  const answer = paths.scene.samples[paths.sample]?.answer;
  if (answer?.kind !== "cells" || answer.face[0] !== paths.lattice.columns || answer.face[1] !== paths.lattice.rows) return null;
  if (!ANSWERS.has(answer)) {
    const classes = Math.max(2, ...answer.reads.flat().map((one) => one + 1));
    ANSWERS.set(answer, { classes, at: (step, site) => answer.reads[Math.max(0, readAt(answer, step))][site] });
  }
  return ANSWERS.get(answer);
}

function put(target, at, places, record, level) {
  target[4 * at] = places[3 * record];
  target[4 * at + 1] = places[3 * record + 1];
  target[4 * at + 2] = places[3 * record + 2];
  target[4 * at + 3] = level;
}

function quads(size) {
  const index = new Uint32Array(6 * size);
  for (let move = 0; move < size; move++) {
    const at = 4 * move;
    index.set([at, at + 1, at + 2, at + 2, at + 1, at + 3], 6 * move);
  }
  return index;
}

function geometryOf(start, end, about) {
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(start, 4)); // three.js counts vertices by it
  geometry.setAttribute("start", geometry.getAttribute("position"));
  geometry.setAttribute("end", new BufferAttribute(end, 4));
  geometry.setAttribute("about", new BufferAttribute(about, 3));
  return geometry;
}

function table(height) {
  const texture = new DataTexture(new Uint8Array(TABLE_WIDTH * height * 4), TABLE_WIDTH, height, RGBAFormat, UnsignedByteType);
  texture.minFilter = texture.magFilter = NearestFilter;
  return texture;
}
