// What the model answers, beside all that it sees.
import type { JSX } from "preact";
import type { App } from "./state";
import type { TraceView } from "./trace";
import { Bars } from "./ui/Bars";
import { usePaint } from "./ui/hooks";
import { plural, share, times } from "./words";

function Seen({ trace }: { trace: TraceView }): JSX.Element {
  const { photo } = trace.manifest;
  const ref = usePaint((canvas) => {
    void trace.image("seen").then((image) => {
      [canvas.width, canvas.height] = [image.width, image.height];
      canvas.getContext("2d")?.drawImage(image, 0, 0);
    });
  }, [trace]);
  return (
    <figure class="seen">
      <div><canvas ref={ref} role="img" aria-label={`The photo as the model sees it, ${times(photo.input)} pixels`} /></div>
      <figcaption>all the model sees: {times(photo.input)} pixels</figcaption>
    </figure>
  );
}

export function Answer({ app }: { app: App }): JSX.Element {
  const trace = app.trace.value;
  const { answer, model, outcome, at_trained_size: trained } = trace.manifest;
  const parts = outcome.classes.map(({ label, share: value, class: id }) => ({ label, value, id })).sort((a, b) => b.value - a.value).slice(0, 6);
  const bars = answer.map(({ label, probability, class: id }) => ({ label, value: probability, id }));
  return (
    <section class="card answer" aria-labelledby="vitrail-answer">
      <h2 id="vitrail-answer">What it answers</h2>
      <Seen trace={trace} />
      <div>
        {answer.length > 0 && <Bars bars={bars} label="Most probable classes" chosen={app.state.cls.value}
          onChoose={(id) => { app.state.cls.value = id; }} />}
        {parts.length > 0 && <Bars bars={parts} label="Shares of the pixels by class" chosen={app.state.cls.value} onChoose={(id) => { app.state.cls.value = id; }} />}
        <p class="note">
          {parts.length > 0 ? `A class for every pixel, of ${plural(model.classes, "class")}: what each covers. Choose one to see what supports it.`
            : answer.length > 0 ? `The ${answer.length} most probable of ${plural(model.classes, "class")}. Choose one to see what supports it.`
            : "This model has no classifier: it answers with features only."}
        </p>
        {trained && <p class="note trained">
          {`The weights are for ${times(trained.size)} pixels; there the answer is ${trained.answer[0].label}, ${share(trained.answer[0].probability)}.`}
        </p>}
      </div>
    </section>
  );
}
