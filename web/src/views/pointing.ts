// Mouse, finger and keys over the picture of the canvas view.
import type { QueryData } from "../query";
import { cellAt, drawnAt, mostZoom, pan, reveal, WHOLE, zoomAt } from "../camera";
import type { Pair } from "../grid";
import { chooseBlock, type App } from "../state";
import type { Look } from "./look";

const MOVES: Record<string, Pair> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const DRAG = 5; // CSS pixels that a click may slip

// A finger that slides over the picture while a token is kept reads its keys, as a mouse does by
// pointing; what it read last stays, since a finger hides what it points at.
const reads = (event: PointerEvent, look: Look): boolean => event.pointerType === "touch" && look.kept.value && look.zoom.value.factor <= 1;

export function listen(canvas: HTMLCanvasElement, app: App, look: Look, queryData: () => QueryData): () => void {
  const ends = new AbortController();
  const on = <K extends keyof HTMLElementEventMap>(name: K, act: (event: HTMLElementEventMap[K]) => void): void =>
    canvas.addEventListener(name, act as EventListener, { signal: ends.signal, passive: false });
  const fingers = new Map<number, Pair>();
  let start: { at: Pair; moved: boolean } | null = null;

  const shareOf = (event: MouseEvent): Pair => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
  };
  const slotUnder = (event: MouseEvent): number => {
    const { grid } = queryData();
    const at = shareOf(event);
    if (at.some((p) => p < 0 || p >= 1)) return -1;
    return grid.slotAt(...cellAt(grid, look.zoom.value, app.state.shift.value, at));
  };
  const most = (): number => (look.fit.value ? mostZoom(look.fit.value) : 1);

  const point = (event: PointerEvent): void => {
    const { grid, slot } = queryData();
    const under = slotUnder(event);
    const token = under < 0 ? -1 : grid.queries[under];
    if (!look.kept.value) { look.key.value = -1; look.hover.value = token; return; }
    look.hover.value = -1;
    const { cover, first } = grid.spots(grid.group(slot));
    const cell = cellAt(grid, look.zoom.value, app.state.shift.value, shareOf(event));
    const spot = under < 0 ? -1 : cover[cell[0] * grid.padded[1] + cell[1]];
    look.key.value = spot < 0 ? -1 : first[spot];
  };

  const drag = (event: PointerEvent): void => {
    const [before, others] = [fingers.get(event.pointerId), [...fingers].filter(([id]) => id !== event.pointerId)];
    const at = shareOf(event);
    if (!before) return;
    const step: Pair = [before[0] - at[0], before[1] - at[1]];
    fingers.set(event.pointerId, at);
    const { width, height } = canvas.getBoundingClientRect();
    if (start && Math.hypot((at[0] - start.at[0]) * height, (at[1] - start.at[1]) * width) > DRAG) start.moved = true;
    if (others.length === 1) {
      const other = others[0][1];
      const far = (p: Pair): number => Math.hypot((p[0] - other[0]) * height, (p[1] - other[1]) * width);
      const middle: Pair = [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2];
      look.zoom.value = zoomAt(look.zoom.value, look.zoom.value.factor * far(at) / Math.max(1, far(before)), most(), middle);
    } else if (start?.moved && look.zoom.value.factor > 1) look.zoom.value = pan(look.zoom.value, step);
  };

  on("pointermove", (event) => {
    if (fingers.has(event.pointerId)) drag(event);
    if (event.pointerType !== "touch" && !(start?.moved && look.zoom.value.factor > 1)) point(event);
    else if (start?.moved && fingers.size === 1 && reads(event, look)) point(event);
  });
  on("pointerdown", (event) => {
    fingers.set(event.pointerId, shareOf(event));
    start = { at: shareOf(event), moved: fingers.size > 1 };
  });
  const lift = (event: PointerEvent): void => { fingers.delete(event.pointerId); };
  on("pointerup", lift);
  on("pointercancel", lift);
  on("pointerleave", (event) => {
    lift(event);
    look.hover.value = -1;
    if (event.pointerType !== "touch") look.key.value = -1;
  });
  on("click", (event) => {
    if (start?.moved && (look.zoom.value.factor > 1 || reads(event as PointerEvent, look))) return;
    const { grid, row } = queryData();
    const slot = slotUnder(event);
    if (slot < 0 || grid.queries[slot] < 0) return;
    const same = look.kept.value && grid.queries[slot] === row.token;
    look.kept.value = !same;
    look.spoke.value = true;
    [look.hover.value, look.key.value] = [-1, -1];
    app.state.token.value = grid.queries[slot];
  });
  on("wheel", (event) => {
    // As on maps: with Ctrl, or two fingers on a pad, it enlarges; alone it scrolls the page.
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    look.zoom.value = zoomAt(look.zoom.value, look.zoom.value.factor * Math.exp(-event.deltaY / 300), most(), shareOf(event));
  });
  on("keydown", (event) => { if (press(event, app, look, queryData(), most())) event.preventDefault(); });
  return () => ends.abort();
}

// Act on a key; false where it means nothing here.
function press(event: KeyboardEvent, app: App, look: Look, { grid, facts, trace }: QueryData, most: number): boolean {
  if (event.altKey || event.ctrlKey || event.metaKey) return false;
  const { state } = app;
  const { key } = event;
  if (key === "PageUp" || key === "PageDown") {
    const next = state.block.value + (key === "PageUp" ? -1 : 1);
    if (trace.manifest.blocks[next]) { look.spoke.value = true; chooseBlock(app, next); }
    return true;
  }
  if (key === "+" || key === "=") { look.zoom.value = zoomAt(look.zoom.value, look.zoom.value.factor * 1.5, most); return true; }
  if (key === "-") { look.zoom.value = zoomAt(look.zoom.value, look.zoom.value.factor / 1.5, most); return true; }
  if (key === "0") { look.zoom.value = WHOLE; return true; }
  if (key === "Escape") { look.kept.value = false; return true; }
  const token = state.token.value;
  const place = grid.isPrefix(token) ? null : grid.position(token);
  let next = -1;
  if (MOVES[key]) next = place ? stepped(grid, place, MOVES[key], state.shift.value) : grid.tokenAt(0, 0);
  else if (key === "Home" || key === "End") next = grid.tokenAt(place?.[0] ?? 0, key === "Home" ? 0 : facts.spatial[1] - 1);
  else return false;
  if (next >= 0 && next !== token) {
    [look.hover.value, look.key.value, look.kept.value, look.spoke.value] = [-1, -1, true, true];
    state.token.value = next;
    look.zoom.value = reveal(look.zoom.value, grid, drawnAt(grid, grid.position(next), state.shift.value));
  }
  return true;
}

// The token beside a place, as the picture is drawn: rolled, its edges lie elsewhere.
function stepped(grid: QueryData["grid"], place: Pair, [down, right]: Pair, roll: number): number {
  const rolled = Math.round(roll);
  const [y, x] = drawnAt(grid, place, rolled);
  const [v, u] = [y + down, x + right];
  if (v < 0 || u < 0 || v >= grid.padded[0] || u >= grid.padded[1]) return -1;
  const slot = grid.slotAt((v + rolled * grid.shift[0]) % grid.padded[0], (u + rolled * grid.shift[1]) % grid.padded[1]);
  return grid.queries[slot] ?? -1;
}
