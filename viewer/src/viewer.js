// Where a page begins: a page with a scene in it shows the scene; the explorer's page asks its server.

import { Board } from "./board.js";
import { make } from "./dom.js";
import { explore } from "./explorer.js";
import { ALL, Paths } from "./paths.js";
import { decode } from "./scene.js";
import { flowTable } from "./story.js";
import { View } from "./view.js";

const NO_WEBGL = "This browser cannot draw with WebGL 2. Switch on hardware acceleration, or use another browser.";

function showScene(raw) {
  const begin = performance.now();
  const view = new View();
  const board = new Board([view]);
  const header = make("header", {}, make("h1", {}, raw.title || "Energy Flow"), raw.subtitle ? make("p", { className: "subtitle" }, raw.subtitle) : null, board.tools);
  document.body.append(header, make("main", {}, make("div", { className: "views" }, view.element), make("aside", { className: "side" }, view.side)), board.timeline.element, board.live, board.help);
  view.begin();
  view.setScene(raw);
  board.open();
  view.stage.measure();
  window.energyFlow = { view, board, drawnAfter: performance.now() - begin };
  document.documentElement.dataset.ready = "";
}

/** What a browser without WebGL 2 can show of a scene: its flows in words. */
function tellScene(raw) {
  const paths = new Paths(decode(raw), ALL);
  const table = flowTable(() => paths, () => {});
  document.body.append(make("main", { className: "failed" }, make("h1", {}, raw.title || "Energy Flow"), make("p", {}, NO_WEBGL), table.element));
  table.element.open = true;
}

const held = document.getElementById("scene");
const draws = Boolean(document.createElement("canvas").getContext("webgl2"));
if (held && draws) showScene(JSON.parse(held.textContent));
else if (held) tellScene(JSON.parse(held.textContent));
else if (draws) explore();
else document.body.append(make("p", { className: "failed" }, NO_WEBGL));
