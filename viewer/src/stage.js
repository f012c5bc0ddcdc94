// The stage: one canvas with the box, its faces, the flows and the traffic; it draws only when something changed.

import {
  AdditiveBlending, BoxGeometry, BufferAttribute, BufferGeometry, Color, DataTexture, DoubleSide, EdgesGeometry, GLSL3, Group,
  InstancedMesh, LineBasicMaterial, LineSegments, Matrix4, Mesh, MeshBasicMaterial, NearestFilter, NormalBlending,
  PerspectiveCamera, PlaneGeometry, Points, RGBAFormat, Scene, ShaderMaterial, UnsignedByteType, Vector2, Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { rampBytes, rampColour } from "./colours.js";
import { FlowDrawing } from "./flows.js";
import { CLOUD_FRAGMENT, CLOUD_VERTEX, FACE_FRAGMENT, FACE_VERTEX } from "./shaders.js";

const INK = { dark: { back: "#090c14", line: "#3a4660", tint: [0.35, 0.62, 1.0] }, light: { back: "#f6f7fb", line: "#9aa6bd", tint: [0.2, 0.3, 0.75] } };
const MARGIN = 0.88; // of the canvas, that the box fills
const REST = 140; // milliseconds without a change, after which the whole picture is drawn
const FRAME = 16; // milliseconds that a picture may take while it moves
const REACH = 9; // pixels from a flow within which the pointer finds it

export class Stage {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.renderer = new WebGLRenderer({ canvas, antialias: false, powerPreference: "high-performance" });
    this.camera = new PerspectiveCamera(26, 1, 0.05, 50);
    this.scene = new Scene();
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enableDamping = false;
    this.controls.minDistance = 0.4;
    this.controls.maxDistance = 12;
    this.controls.addEventListener("change", () => {
      this.draw();
      changed?.();
    });
    this.theme = "dark";
    this.time = 0;
    this.trail = 0;
    this.waiting = false;
    this.frames = 0;
    this.lookFrom(-0.62, 0.42, 1);
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
  }

  /** Put the paths of a sample on the stage, in the place of those before. */
  setPaths(paths) {
    const sizes = JSON.stringify(paths.lattice);
    if (this.sizes !== sizes) this.#furnish(paths.lattice);
    this.sizes = sizes;
    if (this.flows) {
      this.scene.remove(...this.flows.objects, this.cloud);
      this.flows.dispose();
      this.cloud.geometry.dispose();
      this.cloud.material.dispose();
    }
    this.paths = paths;
    this.flows = new FlowDrawing(paths);
    this.cloud = cloudOf(paths);
    this.scene.add(...this.flows.objects, this.cloud);
    this.slow = undefined;
    this.resize();
  }

  #furnish(lattice) {
    if (this.room) this.scene.remove(this.room);
    this.room = new Group();
    const [wide, high, long] = lattice.size;
    this.edges = new LineSegments(new EdgesGeometry(new BoxGeometry(long, high, wide)), new LineBasicMaterial({ transparent: true, opacity: 0.8 }));
    this.room.add(this.edges);
    this.faces = [this.#face(lattice, 0), this.#face(lattice, lattice.depth - 1)];
    this.marks = new Group();
    this.room.add(...this.faces, this.marks);
    this.scene.add(this.room);
    this.lattice = lattice;
  }

  /** A face whose sites are the pixels of a texture, row by row from the top. */
  #face(lattice, z) {
    const [wide, high, long] = lattice.size;
    const { columns, rows } = lattice;
    const sites = new DataTexture(new Uint8Array(4 * columns * rows), columns, rows, RGBAFormat, UnsignedByteType);
    sites.minFilter = sites.magFilter = NearestFilter;
    const uniforms = { sites: { value: sites }, size: { value: new Vector2(columns, rows) }, opacity: { value: 0.4 } };
    const material = new ShaderMaterial({
      vertexShader: FACE_VERTEX, fragmentShader: FACE_FRAGMENT, uniforms, glslVersion: GLSL3,
      side: DoubleSide, transparent: true, depthWrite: false,
    });
    const face = new Mesh(new PlaneGeometry(wide, high).scale(1, -1, 1).rotateY(-Math.PI / 2), material);
    face.position.x = (z ? 0.5 : -0.5) * long;
    return face;
  }

  /** Mark cells, such as those of a lesion: [[x, y, z], ...]. */
  mark(cells) {
    for (const mark of this.marks.children) {
      mark.geometry.dispose();
      mark.material.dispose();
    }
    this.marks.clear();
    if (cells.length) {
      const [wide, high, long] = this.lattice.size;
      const { width, height, depth } = this.lattice;
      const shape = new BoxGeometry(Math.min(0.06, (0.7 * long) / depth), (0.86 * high) / height, (0.86 * wide) / width);
      const mesh = new InstancedMesh(shape, new MeshBasicMaterial({ color: 0xff4d4d, transparent: true, opacity: 0.42, depthWrite: false }), cells.length);
      cells.forEach((cell, index) => mesh.setMatrixAt(index, new Matrix4().setPosition(...this.lattice.place(...cell))));
      this.marks.add(mesh);
    }
    this.draw();
  }

  /** Colour the flows, the faces and what is around them. */
  paint({ colouring, theme, family, traffic }) {
    this.theme = theme;
    const ink = INK[theme];
    this.scene.background = new Color(ink.back);
    this.edges.material.color.set(ink.line);
    this.flows.paint(colouring, theme, family);
    this.cloud.visible = traffic;
    this.cloud.material.uniforms.tint.value.set(...ink.tint);
    this.cloud.material.blending = theme === "dark" ? AdditiveBlending : NormalBlending;
    this.cloud.material.uniforms.opacity.value = theme === "dark" ? 0.5 : 0.6;
    this.bytes = rampBytes(theme);
    this.#paintFaces();
    this.draw();
  }

  /** Go to a time, in steps. */
  show(time, trail) {
    const stepped = Math.floor(time) !== Math.floor(this.time) || trail !== this.trail;
    [this.time, this.trail] = [time, trail];
    this.flows.show(time, trail);
    this.cloud.material.uniforms.time.value = time;
    if (stepped) this.#paintFaces();
    this.draw();
  }

  #paintFaces() {
    if (!this.bytes) return;
    const levels = this.paths.faces(Math.floor(this.time));
    [levels.input, levels.output].forEach((values, face) => {
      const highest = Math.max(...values, 0.3 * this.paths.highestLevel, 1e-6);
      const { sites, opacity } = this.faces[face].material.uniforms;
      values.forEach((value, site) => sites.value.image.data.set(rampColour(this.bytes, value / highest), 4 * site));
      sites.value.needsUpdate = true;
      opacity.value = this.theme === "dark" ? 0.3 : 0.5;
    });
  }

  /** Look from a direction; far enough to see the whole box. */
  lookFrom(x, y, z, distance) {
    const toward = new Vector3(x, y, z).normalize();
    this.camera.position.copy(toward.clone().multiplyScalar(distance || this.#distance(toward)));
    this.controls.target.set(0, 0, 0);
    this.controls.update();
    this.draw();
  }

  /** How far from the middle, in a direction, the whole box is in sight. */
  #distance(toward) {
    if (!this.lattice) return 4;
    const [wide, high, long] = this.lattice.size;
    const aside = new Vector3(0, 1, 0).cross(toward).normalize();
    const up = toward.clone().cross(aside);
    const half = Math.tan((this.camera.fov * Math.PI) / 360) * MARGIN;
    let far = 0;
    for (let corner = 0; corner < 8; corner++) {
      const signs = [1, 2, 4].map((bit) => (corner & bit ? 0.5 : -0.5));
      const place = new Vector3(signs[0] * long, signs[1] * high, signs[2] * wide);
      const needed = Math.max(Math.abs(place.dot(aside)) / this.camera.aspect, Math.abs(place.dot(up))) / half;
      far = Math.max(far, needed + place.dot(toward));
    }
    return far;
  }

  /** Turn by angles in radians, and come nearer by a factor. */
  move(aside, up, nearer = 1) {
    const from = this.camera.position.clone().sub(this.controls.target);
    const distance = Math.min(12, Math.max(0.4, from.length() / nearer));
    const polar = Math.min(3.1, Math.max(0.04, Math.acos(from.y / from.length()) - up));
    from.setFromSphericalCoords(distance, polar, Math.atan2(from.x, from.z) + aside);
    this.camera.position.copy(this.controls.target).add(from);
    this.controls.update();
    this.draw();
  }

  /** The camera as six numbers, and back. */
  get view() {
    return [...this.camera.position.toArray(), ...this.controls.target.toArray()].map((value) => Number(value.toFixed(3)));
  }

  set view(numbers) {
    this.camera.position.fromArray(numbers);
    this.controls.target.fromArray(numbers, 3);
    this.controls.update();
    this.draw();
  }

  /** The flow nearest to a place of the canvas, in pixels, or -1. */
  find(left, top) {
    if (!this.flows) return -1;
    const { width, height } = this.canvas.getBoundingClientRect();
    const matrix = new Matrix4().multiplyMatrices(this.camera.projectionMatrix, this.camera.matrixWorldInverse).elements;
    const { places } = this.flows;
    const { moves, from } = this.flows.all;
    const { before, flowOf, records } = this.paths;
    const onScreen = (record) => {
      const [x, y, z] = [places[3 * record], places[3 * record + 1], places[3 * record + 2]];
      const w = matrix[3] * x + matrix[7] * y + matrix[11] * z + matrix[15];
      const across = (matrix[0] * x + matrix[4] * y + matrix[8] * z + matrix[12]) / w;
      const up = (matrix[1] * x + matrix[5] * y + matrix[9] * z + matrix[13]) / w;
      return [(0.5 + 0.5 * across) * width, (0.5 - 0.5 * up) * height];
    };
    const step = Math.floor(this.time);
    const until = from[step + 1];
    const oldest = this.trail ? from[Math.max(0, step - 2 * this.trail)] : 0;
    let best = REACH, found = -1;
    for (let move = until - 1; move >= oldest; move--) {
      const record = moves[move];
      const far = distance([left, top], onScreen(before[record]), onScreen(record)) + 0.02 * (step - records.step[record]);
      if (far < best) [best, found] = [far, flowOf[record]];
    }
    for (let record = this.paths.from[step]; record < this.paths.from[step + 1]; record++) {
      const [x, y] = onScreen(record);
      const far = 0.5 * Math.hypot(x - left, y - top);
      if (far < best) [best, found] = [far, flowOf[record]];
    }
    return found;
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width || !height) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.flows?.resize(width * ratio, height * ratio, ratio);
    if (this.cloud) {
      const cells = Math.max(this.lattice.width, this.lattice.height);
      this.cloud.material.uniforms.size.value = (1.9 * 1.7 * height * ratio) / cells;
    }
    this.draw();
  }

  /** Draw in the next frame; where a whole picture takes long, a sketch first and the rest once nothing moves. */
  draw() {
    if (!this.waiting) requestAnimationFrame(() => this.drawNow(!this.slow));
    this.waiting = true;
    if (!this.slow) return;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => requestAnimationFrame(() => this.drawNow()), REST);
  }

  /** Draw now, the whole picture or its sketch. */
  drawNow(whole = true) {
    this.waiting = false;
    if (!this.flows) return;
    this.flows.sketch(!whole);
    this.renderer.render(this.scene, this.camera);
    this.frames++;
  }

  /** How long a whole picture takes, in milliseconds: drawn, and read back, so that nothing is still to be done. */
  measure() {
    const begin = performance.now();
    this.drawNow();
    const pen = this.renderer.getContext();
    pen.readPixels(0, 0, 1, 1, pen.RGBA, pen.UNSIGNED_BYTE, new Uint8Array(4));
    return performance.now() - begin;
  }

  /** Find out whether all paths of a large run can be drawn while they move. */
  judge() {
    if (this.flows.layers.length < 2) return;
    const [time, trail] = [this.time, this.trail];
    this.show(this.paths.steps, 0);
    this.measure(); // the first picture compiles
    this.slow = this.measure() > FRAME;
    this.show(time, trail);
  }
}

function cloudOf(paths) {
  const cells = paths.traffic();
  const busiest = cells.reduce((most, cell) => Math.max(most, cell.visits), 1);
  const places = new Float32Array(3 * cells.length), visits = new Float32Array(2 * cells.length);
  cells.forEach((cell, index) => {
    places.set(paths.lattice.place(cell.x, cell.y, cell.z), 3 * index);
    visits.set([Math.sqrt(cell.visits / busiest), cell.step], 2 * index);
  });
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(places, 3));
  geometry.setAttribute("visits", new BufferAttribute(visits, 2));
  const uniforms = { time: { value: 0 }, size: { value: 40 }, tint: { value: new Vector3() }, opacity: { value: 0.5 } };
  const material = new ShaderMaterial({
    vertexShader: CLOUD_VERTEX, fragmentShader: CLOUD_FRAGMENT, uniforms, glslVersion: GLSL3,
    transparent: true, depthWrite: false, depthTest: false,
  });
  const cloud = new Points(geometry, material);
  cloud.frustumCulled = false;
  return cloud;
}

function distance([x, y], [fromX, fromY], [toX, toY]) {
  const [alongX, alongY] = [toX - fromX, toY - fromY];
  const length = alongX * alongX + alongY * alongY;
  const share = length ? Math.min(1, Math.max(0, ((x - fromX) * alongX + (y - fromY) * alongY) / length)) : 0;
  return Math.hypot(x - fromX - share * alongX, y - fromY - share * alongY);
}
