// A figure: its picture, what the pointer meets, the numbers as a table, and ways to take them along.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { App } from "../state";
import { download, npy, pictureOf, vectorOf, type Numbers } from "./export";

export interface TableData {
  columns: string[];
  rows: (string | number)[][];
  // data-* attributes of each row, for tests and for scripts.
  data?: (row: number) => Record<string, string | number>;
}

interface Props {
  app: App;
  id: string; // also the name of the files that are saved
  title: string;
  caption?: ComponentChildren;
  readout?: ComponentChildren; // the number under the pointer
  table?: () => TableData | Promise<TableData>;
  numbers?: () => Numbers | Promise<Numbers>; // what NPY holds; by default the table's columns of numbers
  python?: () => string;
  children: ComponentChildren;
}

export function Figure({ app, id, title, caption, readout, table, numbers, python, children }: Props): JSX.Element {
  const body = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState<"table" | "python" | null>(null);
  const name = `vitrail-${id}`;
  const held = numbers ?? (table && (async () => columnsOf(await table())));
  const toggle = (which: "table" | "python") => () => setOpen(open === which ? null : which);
  const save = (make: () => Promise<Blob>, suffix: string) => () => {
    make().then((blob) => { download(app, blob, `${name}.${suffix}`); app.say(`${title} saved as ${suffix}.`); },
      (error: unknown) => app.say(`Not saved: ${String(error)}`));
  };
  return (
    <figure class="figure" data-figure={id}>
      <h3 class="figure-title">{title}</h3>
      <div class="figure-body" ref={body}>{children}</div>
      {readout !== undefined && <p class="readout" data-readout>{readout}</p>}
      {caption && <figcaption class="note">{caption}</figcaption>}
      <div class="tools" role="group" aria-label={`Take along: ${title}`}>
        {table && <button type="button" aria-expanded={open === "table"} data-tool="table" onClick={toggle("table")}>Table</button>}
        {python && <button type="button" aria-expanded={open === "python"} data-tool="python" onClick={toggle("python")}>Python</button>}
        <button type="button" data-tool="png" onClick={save(() => pictureOf(body.current as HTMLElement), "png")}>PNG</button>
        <button type="button" data-tool="svg" onClick={save(async () => vectorOf(body.current as HTMLElement, title), "svg")}>SVG</button>
        {held && <button type="button" data-tool="npy" onClick={save(async () => npy(await held()), "npy")}>NPY</button>}
      </div>
      {open === "table" && table && <DataTable title={title} table={table} />}
      {open === "python" && python && <Code app={app} code={python()} />}
    </figure>
  );
}

// A row of the array for each row of the table, with the columns that hold numbers throughout.
function columnsOf({ columns, rows }: TableData): Numbers {
  const kept = columns.map((_, j) => j).filter((j) => rows.every((row) => typeof row[j] === "number"));
  return { shape: [rows.length, kept.length], data: Float32Array.from(rows.flatMap((row) => kept.map((j) => row[j] as number))) };
}

function DataTable({ title, table }: { title: string; table: () => TableData | Promise<TableData> }): JSX.Element | null {
  const [data, setData] = useState<TableData | null>(null);
  useEffect(() => {
    let wanted = true;
    void Promise.resolve(table()).then((made) => { if (wanted) setData(made); });
    return () => { wanted = false; };
  }, [table]);
  if (!data) return null;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={`Numbers of ${title}`}>
      <table class="numbers">
        <thead><tr>{data.columns.map((column) => <th scope="col" key={column}>{column}</th>)}</tr></thead>
        <tbody>
          {data.rows.map((row, i) => (
            <tr key={i} {...data.data?.(i)}>
              {row.map((cell, j) => <td key={j} class={typeof cell === "number" ? "number" : ""}>{typeof cell === "number" ? Number(cell.toPrecision(6)) : cell}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

// Source text to read and to copy; where the clipboard is closed, it is selected instead.
export function Code({ app, code }: { app: App; code: string }): JSX.Element {
  const text = useRef<HTMLPreElement>(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(code);
      app.say("Python copied.");
    } catch {
      const selection = getSelection();
      if (selection && text.current) { selection.removeAllRanges(); selection.selectAllChildren(text.current); }
      app.say("Selected; copy it with your keyboard.");
    }
  };
  return (
    <div class="code">
      <button type="button" data-tool="copy" onClick={() => void copy()}>Copy</button>
      <pre ref={text} tabIndex={0} data-python>{code}</pre>
    </div>
  );
}
