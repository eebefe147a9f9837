// Types of the manifest, from the schema that Python's tests hold it to.
// `--check` only compares, and fails where the committed file is not what the schema gives.
import { compileFromFile } from "json-schema-to-typescript";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const schema = join(here, "../src/vitrail/explorer/schema.json");
const target = join(here, "src/schema.ts");
const text = await compileFromFile(schema, {
  additionalProperties: false,
  bannerComment: "// Made from src/vitrail/explorer/schema.json by `npm run types`; do not edit.",
  style: { printWidth: 100 },
  unknownAny: true,
});
if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== text) {
    console.error("src/schema.ts is not what schema.json gives. Fix: npm run types");
    process.exit(1);
  }
} else writeFileSync(target, text);
