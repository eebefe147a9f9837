// Bundle the page: one ES module and one style sheet, readable, beside the Python that inlines them.
// `node build.mjs --out FOLDER` writes elsewhere, so that a test can compare.
import { build } from "esbuild";
import { gzipSync } from "node:zlib";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const at = process.argv.indexOf("--out");
const out = at > 0 ? process.argv[at + 1] : join(here, "../src/vitrail/explorer/static");

await build({
  absWorkingDir: here,
  entryPoints: { explorer: "src/main.tsx" },
  outdir: out,
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
});

for (const name of ["explorer.js", "explorer.css"]) {
  const text = readFileSync(join(out, name));
  console.log(`${name}: ${(text.length / 1000).toFixed(1)} kB (${(gzipSync(text).length / 1000).toFixed(1)} kB gzipped)`);
}
