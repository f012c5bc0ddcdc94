// Where a page begins: a page with a scene in it shows the scene; the explorer's page asks its server.

import { Board } from "./board.js";
import { make } from "./dom.js";
import { explore } from "./explorer.js";
import { View } from "./view.js";

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

const held = document.getElementById("scene");
if (held) showScene(JSON.parse(held.textContent));
else explore();
