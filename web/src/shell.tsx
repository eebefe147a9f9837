// What stands around the views: the title, the answer, the pyramid, the tabs, and what it rests on.
import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { Answer } from "./answer";
import { Provenance } from "./provenance";
import { chooseSide, type App } from "./state";
import { Boundary } from "./ui/Boundary";
import { Switch } from "./ui/Switch";
import { Tour, pyramid, viewsOf } from "./views";

function Header({ app }: { app: App }): JSX.Element {
  const { model, photo } = app.trace.value.manifest;
  return (
    <header class="top">
      <p class="brand">
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path class="p1" d="M2 11V9a7 7 0 0 1 9-7v9z" /><path class="p2" d="M13 2a7 7 0 0 1 9 7v2h-9z" />
          <path class="p3" d="M2 13h9v9H2z" /><path class="p4" d="M13 13h9v9h-9z" />
        </svg>
        Vitrail
      </p>
      <h1>{model.name} looks at {photo.name}</h1>
      {app.traces.length > 1 && <Sides app={app} />}
      {!model.trained && (
        <p class="warning" data-untrained>
          Untrained weights: this model has not learned anything yet. Which token may see which is right below; what the model answers
          and what it attends to mean nothing.
        </p>
      )}
    </header>
  );
}

function Trouble({ app }: { app: App }): JSX.Element | null {
  const said = app.trace.value.source.trouble?.value;
  return said ? <p class="warning trouble" role="alert" data-trouble>{said}</p> : null;
}

function Sides({ app }: { app: App }): JSX.Element {
  const name = (side: number) => {
    const { model, photo } = app.traces[side].manifest;
    return <span><b>{"AB"[side]}</b> {model.name}, {photo.input.join("\u00a0×\u00a0")}, {photo.name}</span>;
  };
  return (
    <div class="sides">
      <Switch label="Which of the two is shown" value={app.state.side.value} onChange={(side) => chooseSide(app, side)}
        choices={[{ id: "A", label: name(0) }, { id: "B", label: name(1) }]} />
    </div>
  );
}

function Tabs({ app }: { app: App }): JSX.Element | null {
  const list = useRef<HTMLDivElement>(null);
  const views = viewsOf(app.trace.value.manifest);
  const shown = views.find(({ id }) => id === app.state.view.value) ?? views[0];
  if (!shown) return null;
  const move = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -views.length, End: views.length }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const at = views.indexOf(shown);
    const next = Math.abs(step) > 1 ? (step < 0 ? 0 : views.length - 1) : (at + step + views.length) % views.length;
    app.state.view.value = views[next].id;
    list.current?.querySelectorAll<HTMLElement>("[role=tab]")[next]?.focus();
  };
  const { Component } = shown;
  return (
    <section class="views" aria-label="Views">
      <div class="tabs" role="tablist" aria-label="Views" ref={list} onKeyDown={move}>
        {views.map(({ id, title }) => (
          <button type="button" role="tab" key={id} id={`tab-${id}`} data-tab={id} aria-selected={id === shown.id} aria-controls={`view-${id}`}
            tabIndex={id === shown.id ? 0 : -1} onClick={() => { app.state.view.value = id; }}>{title}</button>
        ))}
      </div>
      <div class="view" role="tabpanel" id={`view-${shown.id}`} data-view={shown.id} aria-labelledby={`tab-${shown.id}`} tabIndex={-1}>
        <Boundary name={shown.title} key={`${shown.id} ${app.state.side.value}`}><Component app={app} /></Boundary>
      </div>
    </section>
  );
}

export function Shell({ app }: { app: App }): JSX.Element {
  const Pyramid = pyramid?.Component;
  const skip = (event: Event) => {
    event.preventDefault();
    app.root.querySelector<HTMLElement>("[role=tabpanel]")?.focus();
  };
  return (
    <>
      <a class="skip" href={`#view-${app.state.view.value}`} onClick={skip}>Skip to the picture</a>
      <Header app={app} />
      <Trouble app={app} />
      <main>
        <div class="overview">
          <Answer app={app} />
          {Pyramid && (
            <section class="card" data-view="pyramid" aria-label={pyramid?.title}>
              <Boundary name="The pyramid" key={app.state.side.value}><Pyramid app={app} /></Boundary>
            </section>
          )}
        </div>
        {Tour && <Boundary name="The tour"><Tour app={app} /></Boundary>}
        <Tabs app={app} />
        <Provenance app={app} />
      </main>
      <p class="away" role="status" aria-live="polite" data-live>{app.said.value}</p>
    </>
  );
}
