// Bundles the sources and three.js into the two files that the Python package ships.
import { context, build } from "esbuild";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const licence = readFileSync(here("node_modules/three/LICENSE"), "utf-8"); // pages are copied, and it with them
const sources = ["build.mjs", "package-lock.json", ...readdirSync(here("src")).map((name) => `src/${name}`)].sort();
const digest = createHash("sha256"); // tests/test_scene.py compares it, so that no old bundle is shipped
for (const name of sources) digest.update(`${name}\n`).update(readFileSync(here(name)));
const options = {
  entryPoints: [here("src/viewer.js"), here("src/viewer.css")],
  outdir: here("../energy_flow/viz/static"),
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  charset: "ascii",
  legalComments: "none",
  banner: { js: `/* Energy Flow viewer, Apache-2.0; sources ${digest.digest("hex")}. It contains three.js:\n\n${licence.replaceAll("©", "(c)")}*/` },
  logLevel: "info",
};

if (process.argv.includes("--watch")) await (await context(options)).watch();
else await build(options);
