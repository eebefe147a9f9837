// Bundle the page: one ES module and one style sheet, readable, beside the Python that inlines them.
// `node build.mjs --out FOLDER` writes elsewhere, so that a test can compare.
// Names, lines and indents stay, so that the file in a report can be read; what nobody runs or reads goes.
import { build } from "esbuild";
import { gzipSync } from "node:zlib";
import { readFileSync, writeFileSync } from "node:fs";
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
  jsxSideEffects: true, // or each element carries a comment for other bundlers
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
});

for (const name of ["explorer.js", "explorer.css"]) {
  const text = Buffer.from(indented(readFileSync(join(out, name), "utf8")));
  writeFileSync(join(out, name), text);
  console.log(`${name}: ${(text.length / 1000).toFixed(1)} kB (${(gzipSync(text).length / 1000).toFixed(1)} kB gzipped)`);
}

// One tab for two spaces, but not within a text that goes on over lines.
function indented(text) {
  let inside = false;
  return text.split("\n").map((line) => {
    const started = inside;
    if ((line.match(/(?<!\\)`/g) ?? []).length % 2) inside = !inside;
    return started ? line : line.replace(/^(?: {2})+/, (spaces) => "\t".repeat(spaces.length / 2));
  }).join("\n");
}
