// Listen to the user, read the address, and show the first view.
"use strict";

const steps = storySteps();

// ---- the address keeps the choice, so that a view can be linked to ---------------------------------

function keepInAddress() {
  const hash = `#block=${state.block}&token=${state.token}&head=${state.head < 0 ? "mean" : state.head}${state.rolled ? "&rolled" : ""}`;
  try { history.replaceState(null, "", hash); } catch { /* an embedded page may have no address of its own */ }
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const whole = (name, limit) => {
    const value = given.get(name);
    return value !== null && /^\d+$/.test(value) && Number(value) < limit ? Number(value) : null;
  };
  return { block: whole("block", manifest.blocks.length), token: whole("token", 1e9), head: whole("head", 1e4), rolled: given.has("rolled") };
}

// ---- pointing and keys ----------------------------------------------------------------------------

function slotUnder(event) {
  const box = byId("canvas").getBoundingClientRect();
  return picture.hit(block, event.clientX - box.left, event.clientY - box.top, state.rolled);
}

function listenToCanvas() {
  const canvas = byId("canvas");
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch" || !block || state.mode !== "attention") return;
    const slot = slotUnder(event);
    const token = slot < 0 ? -1 : block.grid.queries[slot];
    if (token !== state.hover) { state.hover = token; requestShow(); }
  });
  canvas.addEventListener("pointerleave", () => { if (state.hover >= 0) { state.hover = -1; requestShow(); } });
  canvas.addEventListener("click", (event) => {
    const slot = slotUnder(event);
    if (slot >= 0 && block.grid.queries[slot] >= 0) chooseToken(block.grid.queries[slot]);
  });
  canvas.addEventListener("keydown", onKey);
  byId("close-heat").addEventListener("click", (event) => {
    const box = byId("close-heat").getBoundingClientRect();
    const group = block.grid.group(block.grid.slotOf[state.token]);
    const { rows, columns, keyAt } = block.grid.table(group);
    const y = Math.min(rows - 1, Math.floor((event.clientY - box.top) / box.height * rows));
    const x = Math.min(columns - 1, Math.floor((event.clientX - box.left) / box.width * columns));
    const key = keyAt[y * columns + x];
    const token = key < 0 ? -1 : block.grid.keys[group * block.grid.answering + key];
    if (block.grid.isToken(token)) chooseToken(token);
  });
}

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || !block) return;
  const { grid } = block;
  const place = grid.place(grid.slotOf[state.token], state.rolled);
  let target = -1;
  if (MOVES[event.key] || event.key === "Home" || event.key === "End") {
    // From a prefix token, which lies nowhere, every move leads into the picture.
    if (!place) target = grid.slotAt(0, 0, state.rolled);
    else if (MOVES[event.key]) target = grid.slotAt(place[0] + MOVES[event.key][0], place[1] + MOVES[event.key][1], state.rolled);
    else {
      const row = state.token - grid.position(state.token)[1];
      target = grid.slotOf[event.key === "Home" ? row : row + grid.columns - 1];
    }
  } else if (event.key === "PageUp" || event.key === "PageDown") {
    const next = state.block + (event.key === "PageUp" ? -1 : 1);
    if (manifest.blocks[next]) { state.step = -1; chooseBlock(next).then(announce); }
  } else return;
  event.preventDefault();
  if (target >= 0 && grid.queries[target] >= 0) chooseToken(grid.queries[target]);
}

let asked = 0;
function requestShow() {
  if (!asked) asked = requestAnimationFrame(() => { asked = 0; show(); });
}

// ---- the parts that never change -------------------------------------------------------------------

function buildAnswer() {
  const { photo, model, answer } = manifest;
  byId("model-name").textContent = model.name;
  byId("photo-name").textContent = photo.name;
  byId("seen").alt = `The photo as the model sees it, ${times(photo.input)} pixels`;
  byId("seen-caption").textContent = `all the model sees: ${times(photo.input)} pixels`;
  byId("classes").replaceChildren(...answer.map(({ label, probability }) => {
    const item = make("li");
    const [back, fill] = [make("span", undefined, "bar-back"), make("span", undefined, "bar-fill")];
    fill.style.width = `${100 * probability}%`;
    fill.style.display = "block";
    back.append(fill);
    item.append(make("span", label, "name"), back, make("span", share(probability), "number"));
    return item;
  }));
  byId("answer-note").textContent = answer.length ? `The ${answer.length} most probable of ${plural(manifest.model.classes, "class").replace("classs", "classes")}.` : "This model has no classifier: it answers with features only.";
  if (!model.trained) {
    byId("untrained").hidden = false;
    byId("untrained").textContent = "Untrained weights: this model has not learned anything yet. Which token may see which is right below; what the model answers and what it attends to mean nothing.";
  }
}

function buildPyramid() {
  const kinds = new Map(manifest.blocks.map((item) => [item.label, item]));
  byId("kinds").replaceChildren(...[...kinds.values()].flatMap((item, i) => {
    const key = make("span", undefined, "bead-key");
    key.append(glyph(item), "\u00a0", make("b", item.label), ` ${item.title}`);
    return i ? [", ", key] : [key];
  }), ".");
  const stages = new Map();
  manifest.blocks.forEach((item, index) => stages.set(item.stage, [...(stages.get(item.stage) || []), { ...item, index }]));
  byId("pyramid").replaceChildren(...[...stages].map(([stage, members]) => {
    const column = make("li");
    const map = make("canvas");
    map.setAttribute("aria-hidden", "true");
    drawStage(map, members[0].spatial, images.shown);
    const beads = make("div", undefined, "beads");
    beads.setAttribute("role", "group");
    beads.setAttribute("aria-label", `Blocks of stage ${stage + 1}`);
    members.forEach((member) => {
      const bead = make("button", undefined, `bead ${tone(member)}${members.length > 6 ? " small" : ""}`);
      bead.type = "button";
      bead.setAttribute("aria-label", `${blockName(member)}, ${member.title}`);
      bead.append(glyph(member), make("span", member.label));
      bead.addEventListener("click", () => { Object.assign(state, { step: -1, mode: "attention" }); chooseBlock(member.index).then(announce); });
      beads.append(bead);
    });
    const merge = manifest.merges.find((item) => item.stage === stage);
    const size = make("p", `${times(members[0].spatial)} tokens, each ${times(members[0].stride)} pixels`, "size");
    const origin = make("p", merge ? `merged ${times(merge.factor)} → 1` : `cut into patches`, "merge");
    column.append(map, make("p", `Stage ${stage + 1}`, "name"), origin, size, beads);
    return column;
  }));
}

function buildSteps() {
  byId("steps").replaceChildren(...steps.map((step, i) => {
    const [item, button] = [make("li"), make("button")];
    button.type = "button";
    button.append(make("b", String(i + 1)), make("span", step.name));
    button.addEventListener("click", () => chooseStep(i));
    item.append(button);
    return item;
  }));
}

function buildProvenance() {
  const { model, photo, blocks: all, versions } = manifest;
  definitions(byId("provenance"), [
    ["model", `${model.name}, ${count(model.parameters)} parameters`],
    ["weights", `${model.weights} (${model.trained ? "trained" : "untrained"})`],
    ["SHA-256 of the weights", model.sha256, "hash"],
    ["photo", `${photo.name}, ${times(photo.original)} pixels (height × width)`],
    ["made ready by", model.transform.join("; ")],
    ["software", versions],
    ["check", `these weights times the values give each block's own output to within ${Math.max(...all.map((item) => item.error)).toExponential(1)}`],
    ["precision", "weights are stored in 8 bits as square roots; each is right to within 0.002"],
  ]);
}

function listenToControls() {
  byId("as-photo").addEventListener("click", () => { state.rolled = false; show(); });
  byId("as-rolled").addEventListener("click", () => { state.rolled = true; show(); });
  byId("strength").addEventListener("input", (event) => { state.strength = event.target.value / 100; show(); });
  byId("pixels").addEventListener("change", (event) => { state.source = event.target.checked ? "seen" : "shown"; show(); });
  byId("all").addEventListener("toggle", () => { if (block) show(); });
  let width = 0;
  new ResizeObserver(() => {
    if (!block || byId("frame").clientWidth === width) return;
    width = byId("frame").clientWidth;
    layout();
  }).observe(byId("frame"));
}

async function start() {
  await Promise.all([images.shown.decode(), images.seen.decode()]);
  buildAnswer();
  buildPyramid();
  buildSteps();
  buildProvenance();
  listenToCanvas();
  listenToControls();
  const linked = readAddress();
  if (linked.block === null) {
    await chooseStep(2);
  } else {
    state.rolled = linked.rolled;
    if (linked.head !== null) state.head = linked.head;
    await chooseBlock(linked.block);
    if (linked.token !== null && linked.token < block.grid.slotOf.length) state.token = linked.token;
    show();
  }
  document.documentElement.dataset.ready = "true";
}

start();
