// view.min.js: view.js and what it needs of three.js in one file, under three.js's licence and the digest of the view.js it was made of.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const { version } = JSON.parse(readFileSync("node_modules/three/package.json"));
const licence = readFileSync("node_modules/three/LICENSE", "utf8").trim();
const digest = createHash("sha256").update(readFileSync("view.js")).digest("hex");
const banner = `/*
Made by "npm install && npm run build" of view.js, SHA-256 ${digest},
and of three.js ${version}, whose licence follows.

${licence}
*/`;
await build({
  entryPoints: ["view.js"],
  outfile: "view.min.js",
  bundle: true,
  minify: true,
  format: "iife",
  legalComments: "none",
  banner: { js: banner },
});
