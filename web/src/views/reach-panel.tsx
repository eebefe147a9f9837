// A map over the whole photo, with its numbers.
import type { ComponentChildren, JSX } from "preact";
import { drawHeat } from "../draw/heat";
import { prelude } from "../python";
import type { App } from "../state";
import type { Map2d } from "../rows";
import { Figure, type TableData } from "../ui/Figure";
import { useLoaded, usePaint } from "../ui/hooks";
import { darken, fit } from "./reach-canvas";

interface PanelProps { app: App; id: string; tag: string; title: string; map: Map2d | null; mask?: boolean; caption: ComponentChildren; code: string; missing?: string | null }

export function Panel({ app, id, tag, title, map, mask, caption, code, missing }: PanelProps): JSX.Element {
  return (
    <section class="part panel" data-panel={id}>
      <p class="tag">{tag}</p>
      <Figure app={app} id={id} title={title} caption={caption} numbers={map ? () => ({ shape: [map.height, map.width], data: map.values }) : undefined}
        table={map ? () => brightest(map, app.trace.value.manifest.photo.input) : undefined} python={() => `${prelude(app)}\n${code}`}>
        <Over app={app} map={map} mask={mask ?? false} label={title} />
        {missing && <p class="note">{missing}</p>}
      </Figure>
    </section>
  );
}

// The photo under a map; a mask darkens what it leaves out.
function Over({ app, map, mask, label }: { app: App; map: Map2d | null; mask: boolean; label: string }): JSX.Element {
  const trace = app.trace.value;
  const { value: image } = useLoaded(() => trace.image("shown"), [trace]);
  const [high, wide] = trace.manifest.photo.input;
  const ref = usePaint((canvas, width) => {
    const height = (width * high) / wide;
    const context = fit(canvas, width, height);
    if (image) context.drawImage(image, 0, 0, width, height);
    if (map && mask) darken(context, map, (cell) => map.values[cell] > 0, [0, 0, width, height]);
    else if (map) drawHeat(context, map, [0, 0, width, height], { alpha: 0.72 });
  }, [image, map, mask, high, wide]);
  return <div class="over" style={{ aspectRatio: `${wide} / ${high}` }}><canvas ref={ref} role="img" aria-label={label} /></div>;
}

function brightest({ height, width, values }: Map2d, input: readonly number[]): TableData {
  const order = Array.from(values.keys()).sort((a, b) => values[b] - values[a]).slice(0, 200);
  const span = (at: number, many: number, axis: number): string => `${Math.round((at * input[axis]) / many)}–${Math.round(((at + 1) * input[axis]) / many) - 1}`;
  return {
    columns: ["pixel rows", "pixel columns", "value"],
    rows: order.map((cell) => [span(Math.floor(cell / width), height, 0), span(cell % width, width, 1), values[cell]]),
  };
}
