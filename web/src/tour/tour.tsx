// The tour: a strip that walks through the story over the same views and the same data. It never
// stands in the way: it opens at its first step, can be closed, and everything else keeps working.
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { groupsOf } from "../groups";
import { assign, tokenAt, type App } from "../state";
import type { TraceView } from "../trace";
import { useLoaded, usePaint } from "../ui/hooks";
import { plural, times } from "../words";
import { joinQuiz, may, partQuiz, type Quiz } from "./quiz";
import { paintScene, type SceneData } from "./scenes";
import { tourSteps, type TourStep } from "./steps";

// What a step's drawing and question are made from.
type Ready = Omit<SceneData, "manifest" | "answered" | "token">;

async function prepare(trace: TraceView, step: TourStep): Promise<Ready> {
  const facts = trace.manifest.blocks[step.block];
  const [groups, before, seen, shown, rgb] = await Promise.all([
    groupsOf(trace, step.block), step.quizKind ? groupsOf(trace, 0) : null, trace.image("seen"), trace.image("shown"),
    step.scene === "answer" ? trace.array(facts.rgb) : null,
  ]);
  const quiz = step.quizKind === "join" && before ? joinQuiz({ block: 0, groups: before }, { block: step.block, groups })
    : step.quizKind === "part" ? partQuiz({ block: step.block, groups }) : null;
  const fits = before && before.total === groups.total ? before : null;
  return { step, groups, before: fits, quiz, seen, shown, features: rgb && { height: rgb.shape[0], width: rgb.shape[1], data: rgb.data } };
}

export function Tour({ app }: { app: App }): JSX.Element {
  const trace = app.trace.value;
  const steps = useMemo(() => tourSteps(trace.manifest), [trace]);
  const at = Math.min(app.state.step.value, steps.length - 1);
  if (at < 0) {
    return <p class="tour-closed"><button type="button" data-tour-start onClick={() => { void go(app, steps, 0); }}>Take the tour: {plural(steps.length, "step")}</button></p>;
  }
  return <Strip app={app} trace={trace} steps={steps} at={at} />;
}

// Show a step: what it is about becomes the selection. A question first shows what is known already.
async function go(app: App, steps: TourStep[], at: number, answered: ReadonlySet<string> = new Set()): Promise<void> {
  const step = steps[at];
  const trace = app.trace.value;
  app.state.step.value = at;
  app.say(`Step ${at + 1} of ${steps.length}, ${step.name}. ${step.text}`);
  const { quiz } = await prepare(trace, step);
  if (app.state.step.value !== at || app.trace.value !== trace) return; // gone on meanwhile
  assign(app.state, selection(trace, step, quiz, !quiz || answered.has(step.id)));
}

function selection(trace: TraceView, step: TourStep, quiz: Quiz | null, explained: boolean): TourStep["select"] {
  const { blocks, photo } = trace.manifest;
  if (quiz && !explained) return { ...step.select, block: 0, shift: 0, token: Math.min(quiz.queryToken, blocks[0].prefix + blocks[0].spatial[0] * blocks[0].spatial[1] - 1) };
  return { ...step.select, token: quiz ? quiz.queryToken : tokenAt(blocks[step.block], step.at, photo.input) };
}

interface StripProps { app: App; trace: TraceView; steps: TourStep[]; at: number }

function Strip({ app, trace, steps, at }: StripProps): JSX.Element {
  const [answered, setAnswered] = useState<ReadonlySet<string>>(new Set());
  const list = useRef<HTMLOListElement>(null);
  const step = steps[at];
  const { value: ready } = useLoaded(() => prepare(trace, step), [trace, step]);
  const mine = ready?.step === step ? ready : null;
  const move = (to: number): void => { if (to >= 0 && to < steps.length) void go(app, steps, to, answered); };
  // An address that names a step and nothing else selects what the step selects.
  useEffect(() => { if (at > 0 && app.host !== "notebook" && !/[#&](view|block)=/.test(location.hash)) move(at); }, []);
  useEffect(() => {
    const [row, chip] = [list.current, list.current?.children[at] as HTMLElement | undefined];
    if (row && chip) row.scrollLeft = chip.offsetLeft - (row.clientWidth - chip.offsetWidth) / 2;
  }, [at]);
  const answer = (): void => {
    setAnswered(new Set([...answered, step.id]));
    if (mine?.quiz) assign(app.state, selection(trace, step, mine.quiz, true));
  };
  const onKey = (event: KeyboardEvent): void => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: steps.length - 1 }[event.key];
    if (event.key === "Escape") app.state.step.value = -1;
    else if (to !== undefined) move(to);
    else return;
    event.preventDefault();
  };
  return (
    <section class="card tour" aria-label="Tour" data-tour data-step={step.id} onKeyDown={onKey}>
      <div class="tour-top">
        <ol class="tour-steps" ref={list}>
          {steps.map(({ id, name }, i) => (
            <li key={id}>
              <button type="button" data-tour-step={id} aria-current={i === at ? "step" : undefined} onClick={() => move(i)}><b aria-hidden="true">{i + 1}</b><span>{name}</span></button>
            </li>
          ))}
        </ol>
        <button type="button" class="tour-close" aria-label="Close the tour" onClick={() => { app.state.step.value = -1; }}>×</button>
      </div>
      <div class="tour-body">
        <div class="tour-scene">{mine && <SceneCanvas trace={trace} ready={mine} answered={answered.has(step.id)} token={tokenAt(trace.manifest.blocks[step.block], step.at, trace.manifest.photo.input)} />}</div>
        <div class="tour-words">
          {mine?.quiz && <Question trace={trace} step={step} quiz={mine.quiz} answered={answered.has(step.id)} onAnswer={answer} say={app.say} />}
          {!(step.quizKind && (!mine || (mine.quiz && !answered.has(step.id)))) && <p class="tour-text">{step.text}</p>}
          <div class="tour-nav">
            <button type="button" disabled={at === 0} data-tour-back onClick={() => move(at - 1)}>Back</button>
            <button type="button" class="main" disabled={at === steps.length - 1} data-tour-next onClick={() => move(at + 1)}>Next{at + 1 < steps.length ? `: ${steps[at + 1].name}` : ""}</button>
          </div>
        </div>
      </div>
    </section>
  );
}

function SceneCanvas({ trace, ready, answered, token }: { trace: TraceView; ready: Ready; answered: boolean; token: number }): JSX.Element {
  const ref = usePaint((canvas, width) => paintScene(canvas, width, { manifest: trace.manifest, answered, token, ...ready }), [ready, answered]);
  return <canvas ref={ref} aria-hidden="true" />;
}

// ---- questions -----------------------------------------------------------------------------------

interface QuestionProps { trace: TraceView; step: TourStep; quiz: Quiz; answered: boolean; onAnswer(): void; say(text: string): void }

function Question({ trace, step, quiz, answered, onAnswer, say }: QuestionProps): JSX.Element {
  const [guess, setGuess] = useState<{ step: string; yes: boolean } | null>(null);
  const right = may(quiz.bond);
  const explained = answer(trace, quiz);
  const reply = (yes: boolean) => (): void => {
    setGuess({ step: step.id, yes });
    say(`${yes === right ? "Right." : "Not so."} ${explained}`);
    onAnswer();
  };
  const mine = guess?.step === step.id ? guess : null;
  return (
    <div class="quiz" data-quiz={quiz.quizKind} data-query-token={quiz.queryToken} data-other={quiz.other} data-block={quiz.block} data-answer={right ? "yes" : "no"}>
      <p class="question">{question(trace, quiz)}</p>
      <p class="replies" role="group" aria-label="Your answer">
        {[true, false].map((yes) => (
          <button type="button" key={String(yes)} data-reply={yes ? "yes" : "no"} aria-pressed={mine ? mine.yes === yes : false} onClick={reply(yes)}>{yes ? "Yes" : "No"}</button>
        ))}
        {answered && <span class="verdict" data-verdict><b>{mine ? (mine.yes === right ? "Right. " : "Not so. ") : ""}</b>{explained}</span>}
      </p>
    </div>
  );
}

function question({ manifest: { blocks } }: TraceView, quiz: Quiz): string {
  const block = blocks[quiz.block];
  const kind = `block ${block.block + 1} (${block.title})`;
  if (quiz.quizKind === "part") return `In ${kind} the picture is rolled, so that one ${block.group ?? "group"} at its edge holds both A and B. May A look at B?`;
  const before = quiz.was && blocks[quiz.was.block];
  const was = before && quiz.was ? `In block ${before.block + 1} (${before.title}), A ${may(quiz.was.bond) ? "may" : "may not"} look at its neighbour B. ` : "";
  return `${was}May A look at B in ${kind}?`;
}

function answer({ manifest: { blocks } }: TraceView, { block: index, bond, cell, quizKind }: Quiz): string {
  const block = blocks[index];
  const group = block.group ?? "group";
  if (bond === "token") return quizKind === "join" ? `Yes: here B is among the keys of A's ${group}.` : `Yes: they share a ${group} and a part of the photo.`;
  if (bond === "pooled") return `Yes, but coarsely: through a key that stands for ${times(cell ?? [1, 1])} tokens.`;
  if (bond === "masked") return `No: they share a ${group} only because of the roll. They come from different parts of the photo, so A's weight on B is masked to zero.`;
  return `No: each lies in a ${group} of its own.`;
}
