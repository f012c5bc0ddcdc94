// The story of a flow in words, and the table of all flows for people who do not see the canvas.

import { figure, make } from "./dom.js";
import { EVENTS } from "./scene.js";

const ENDS = { [EVENTS.ARRIVED]: "arrived", [EVENTS.FADED]: "faded" };
const ROWS = 300; // of the table

/** What happened to a flow, as short facts: [[name, words], ...]. */
export function tell(paths, flow) {
  const { records, lattice } = paths;
  const all = paths.story(flow);
  const [first, last] = [all[0], all.at(-1)];
  const site = (record) => {
    const number = lattice.siteOf(records.x[record], records.y[record]);
    return `site ${number} (${number % lattice.columns}, ${Math.floor(number / lattice.columns)})`;
  };
  const end = ENDS[records.event[last]];
  const parent = paths.parent[flow];
  const levels = all.map((record) => records.level[record]);
  return [
    ["flow", `${records.flow[first]}${paths.scene.samples.length > 1 ? ` of ${nameOf(paths, first)}` : ""}`],
    parent < 0 ? ["launched", site(first)] : ["born", `step ${records.step[first]}, ${site(first)}, of flow ${records.flow[paths.first[parent]]}`],
    ["moves", `${all.length - 1}, z ${figure(records.z[first])} to ${figure(records.z[last])}`],
    ["level", `${figure(levels[0])} at first, ${figure(levels.at(-1))} at last, ${figure(Math.max(...levels))} at most`],
    ["mass", figure(records.mass[last])],
    ["children", String(paths.children[flow].length)],
    ["end", end ? `${end} in step ${records.step[last]}, ${site(last)}` : `on its way in step ${records.step[last]}`],
  ];
}

function nameOf(paths, record) {
  return paths.scene.samples[paths.records.sample[record]]?.name ?? `sample ${paths.records.sample[record]}`;
}

/** The facts as a list. */
export function storyList(facts) {
  return make("dl", { className: "facts" }, facts.flatMap(([name, words]) => [make("dt", {}, name), make("dd", {}, words)]));
}

/** One sentence on what is drawn at a step. */
export function sentence(paths, step) {
  const parts = [
    `Step ${step} of ${paths.steps}: ${figure(paths.live[step] ?? 0, 6)} flows live`,
    `mean level ${figure(paths.meanLevel[step] ?? 0)}`,
    `${paths.arrived[step] ?? 0} arrived`,
    `${paths.faded[step] ?? 0} faded`,
    `${paths.born[step] ?? 0} born`,
  ];
  return `${parts.join(", ")}.`;
}

/** A table of the flows, made when it is opened. */
export function flowTable(pathsOf, follow) {
  const body = make("tbody");
  const caption = make("caption");
  const heads = ["flow", "parent", "from site", "to site", "steps", "highest level", "end"];
  const table = make("table", {}, caption, make("thead", {}, make("tr", {}, heads.map((name) => make("th", { scope: "col" }, name)))), body);
  const element = make("details", { className: "flows" }, make("summary", {}, "Table of flows"), make("div", { className: "scroll" }, table));
  const fill = () => {
    if (!element.open) return;
    const paths = pathsOf();
    caption.textContent = paths.flows > ROWS ? `The first ${ROWS} of ${paths.flows} flows` : `All ${paths.flows} flows`;
    body.replaceChildren(...Array.from({ length: Math.min(ROWS, paths.flows) }, (_, flow) => rowOf(paths, flow, follow)));
  };
  element.addEventListener("toggle", fill);
  return { element, fill };
}

function rowOf(paths, flow, follow) {
  const { records, lattice } = paths;
  const all = paths.story(flow);
  const [first, last] = [all[0], all.at(-1)];
  const site = (record) => lattice.siteOf(records.x[record], records.y[record]);
  const parent = paths.parent[flow];
  const name = make("button", { type: "button", className: "link", on: { click: () => follow(flow) } }, String(records.flow[first]));
  const highest = Math.max(...all.map((record) => records.level[record]));
  const words = [name, parent < 0 ? "none" : records.flow[paths.first[parent]], site(first), site(last), all.length - 1, figure(highest), ENDS[records.event[last]] ?? "moving"];
  return make("tr", {}, words.map((word) => make("td", {}, typeof word === "object" ? word : String(word))));
}
