// House rules that the compiler does not know: small files, short lines, no `any`, no addresses, no import circles.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const files = readdirSync(join(here, "src"), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
const faults = [];
for (const file of files) {
  const name = relative(here, file);
  const made = name.endsWith("schema.ts");
  const lines = readFileSync(file, "utf8").split("\n");
  if (lines.length > 321 && !made) faults.push(`${name}: ${lines.length} lines; cut it into rooms of 300`);
  lines.forEach((line, i) => {
    const at = `${name}:${i + 1}`;
    const prose = /["'`>][^"'`]{60,}/.test(line); // a sentence is not broken for its length
    if (line.length > 200 && !made && !prose) faults.push(`${at}: ${line.length} columns`);
    if (/\s$/.test(line)) faults.push(`${at}: space at the end of the line`);
    if (/\t/.test(line)) faults.push(`${at}: a tab`);
    if (/(:|as|<)\s*any\b/.test(line) && !line.trimStart().startsWith("//")) faults.push(`${at}: any`);
    if (/@ts-(ignore|nocheck|expect-error)/.test(line)) faults.push(`${at}: the compiler is silenced`);
    if (/\bconsole\.\w+\(|\bdebugger\b/.test(line)) faults.push(`${at}: left from looking for a fault`);
    if (/\.innerHTML|dangerouslySetInnerHTML|document\.write/.test(line)) faults.push(`${at}: text as markup`);
    if (/https?:\/\/(?!www\.w3\.org)/.test(line)) faults.push(`${at}: an address outside`);
  });
}

// Imports go one way: a circle, of types too, is a fault.
const imports = (file) => [...readFileSync(file, "utf8").matchAll(/from "(\.[^"]+)"/g)]
  .map(([, path]) => join(dirname(file), path))
  .flatMap((path) => [`${path}.ts`, `${path}.tsx`, join(path, "index.ts")].filter((name) => existsSync(name)));
const done = new Set();
function visit(file, way) {
  if (way.includes(file)) {
    faults.push(`import circle: ${[...way.slice(way.indexOf(file)), file].map((name) => relative(here, name)).join(" -> ")}`);
  } else if (!done.has(file)) {
    imports(file).forEach((next) => visit(next, [...way, file]));
    done.add(file);
  }
}
files.filter((file) => /\.tsx?$/.test(file)).forEach((file) => visit(file, []));

faults.forEach((fault) => console.error(fault));
process.exit(faults.length ? 1 : 0);
