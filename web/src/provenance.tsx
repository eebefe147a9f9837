// What the page was computed from, to the last bit of the weights.
import type { JSX } from "preact";
import type { App } from "./state";
import { Code } from "./ui/Figure";
import { prelude } from "./python";
import { count, times } from "./words";

export function Provenance({ app }: { app: App }): JSX.Element {
  const { model, photo, blocks, versions } = app.trace.value.manifest;
  const worst = Math.max(...blocks.map((block) => block.error));
  const facts: [string, string, string?][] = [
    ["model", `${model.name}, ${count(model.parameters)} parameters`],
    ["weights", `${model.weights} (${model.trained ? "trained" : "untrained"})`],
    ["SHA-256 of the weights", model.sha256, "hash"],
    ...(model.adapted ? [["taken over from", `${model.adapted.from}; its own answer differs by at most ${model.adapted.difference.toExponential(1)}`] as [string, string]] : []),
    ["photo", `${photo.name}, ${times(photo.original)} pixels (height × width)`],
    ["made ready by", model.transform.join("; ")],
    ["software", versions],
    ["check", `these weights times the values give each block's own output to within ${worst.toExponential(1)}`],
    ["precision", "weights are stored in 8 bits as square roots; each is right to within 0.004"],
  ];
  return (
    <section class="card provenance" aria-labelledby="vitrail-facts" data-provenance>
      <h2 id="vitrail-facts">What this was computed from</h2>
      <dl class="facts wide">
        {facts.map(([name, value, look]) => [<dt key={name}>{name}</dt>, <dd key={`${name}=`} class={look}>{value}</dd>])}
      </dl>
      <p class="note">
        Attention says where information is fetched from. It does not say what the answer depends on: a token can be looked at and ignored.
      </p>
      <Code app={app} code={prelude(app)} />
    </section>
  );
}
