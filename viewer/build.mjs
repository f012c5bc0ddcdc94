// Bundles the sources and three.js into the two files that the Python package ships.
import { context, build } from "esbuild";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const options = {
  entryPoints: [here("src/viewer.js"), here("src/viewer.css")],
  outdir: here("../energy_flow/viz/static"),
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  charset: "ascii",
  legalComments: "none",
  banner: {
    js: "/* Energy Flow viewer, Apache-2.0; with three.js, MIT, Copyright 2010-2026 three.js authors: see NOTICE. */",
  },
  logLevel: "info",
};

if (process.argv.includes("--watch")) await (await context(options)).watch();
else await build(options);
