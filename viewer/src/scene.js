// A scene as the Python package writes it: records of flows in order of time, as typed arrays in base64.

export const EVENTS = { MOVING: 0, ARRIVED: 1, FADED: 2, LAUNCHED: 3, BORN: 4 };
const TYPES = {
  step: Uint16Array, sample: Uint16Array, flow: Uint32Array, parent: Int32Array,
  x: Float32Array, y: Float32Array, z: Float32Array, level: Float32Array, mass: Float32Array, event: Uint8Array,
};
const FORMAT = 1;

function unpack(text, Type) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return new Type(bytes.buffer);
}

/** Turn what `energy_flow.viz.Scene.to_dict` gives into typed arrays. */
export function decode(raw) {
  if (raw.format !== FORMAT) throw new Error(`scene of format ${raw.format}, this viewer reads ${FORMAT}`);
  const records = {};
  for (const [name, Type] of Object.entries(TYPES)) records[name] = unpack(raw.records[name], Type);
  const lattice = new Lattice(raw.box, raw.sites);
  return { ...raw, records, lattice, count: records.step.length };
}

/** The geometry: cells, sites and faces. */
export class Lattice {
  constructor(box, sites) {
    [this.width, this.height, this.depth] = box;
    [this.columns, this.rows] = sites;
    this.siteCount = this.columns * this.rows;
    const widest = Math.max(this.width, this.height);
    const long = Math.min(2.6, Math.max(1.15, (this.depth - 1) / widest));
    this.size = [this.width / widest, this.height / widest, long]; // as it is drawn
  }

  /** The number of the site whose patch holds a cell. */
  siteOf(x, y) {
    const column = Math.floor(((2 * this.cell(x, this.width) + 1) * this.columns) / (2 * this.width));
    const row = Math.floor(((2 * this.cell(y, this.height) + 1) * this.rows) / (2 * this.height));
    return row * this.columns + column;
  }

  cell(coordinate, cells) {
    return Math.min(cells - 1, Math.max(0, Math.floor(coordinate + 0.5)));
  }

  /** Cells to the place where they are drawn: z to the right, y down, x towards the back. */
  place(x, y, z) {
    const [wide, high, long] = this.size;
    return [
      (z / Math.max(1, this.depth - 1) - 0.5) * long,
      (0.5 - (y + 0.5) / this.height) * high,
      ((x + 0.5) / this.width - 0.5) * wide,
    ];
  }
}
