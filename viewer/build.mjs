// Bundles the sources and three.js into the two files that the Python package ships.
import { context, build } from "esbuild";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const licence = readFileSync(here("node_modules/three/LICENSE"), "utf-8"); // pages are copied, and it with them
const options = {
  entryPoints: [here("src/viewer.js"), here("src/viewer.css")],
  outdir: here("../energy_flow/viz/static"),
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  charset: "ascii",
  legalComments: "none",
  banner: { js: `/* Energy Flow viewer, Apache-2.0. It contains three.js:\n\n${licence.replaceAll("©", "(c)")}*/` },
  logLevel: "info",
};

if (process.argv.includes("--watch")) await (await context(options)).watch();
else await build(options);
