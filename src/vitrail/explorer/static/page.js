// The page: one state (block, token, head, arrangement), shown everywhere and kept in the address.
"use strict";

const state = { block: 0, token: 0, head: -1, rolled: false, mode: "attention", strength: 0.75, source: "shown", step: -1, hover: -1 };
const picture = new Picture(byId("canvas"));
const images = { shown: byId("shown"), seen: byId("seen") };
let block = null; // the chosen block with its arrays

const make = (tag, text, className) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
};
const glyph = (kind) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "glyph");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#glyph-${kind}`);
  svg.append(use);
  return svg;
};
const press = (button, on) => button.setAttribute("aria-pressed", String(on));

// ---- the choice -------------------------------------------------------------------------------

// Choose a block; the same place in the photo stays chosen.
let wish = 0;
async function chooseBlock(index, at) {
  const mine = ++wish;
  const next = await loadBlock(index);
  if (mine !== wish) return; // another block was chosen while this one was unpacked
  const place = at || (block ? tokenCentre(state.token) : [0.5, 0.5]);
  block = next;
  state.block = index;
  state.hover = -1;
  state.token = tokenAt(place);
  if (!block.each) state.head = -1;
  else state.head = Math.min(state.head, block.heads - 1);
  buildHeads();
  layout();
}

// The middle of a token as a share of the photo's height and width, and back.
function tokenCentre(token) {
  return block.grid.position(token).map((p, axis) => (p + 0.5) * block.stride[axis] / manifest.photo.input[axis]);
}
function tokenAt(place) {
  const [y, x] = place.map((p, axis) => Math.min(block.spatial[axis] - 1, Math.max(0, Math.floor(p * manifest.photo.input[axis] / block.stride[axis]))));
  return y * block.spatial[1] + x;
}

function chooseToken(token) {
  Object.assign(state, { token, hover: -1, mode: "attention", step: state.mode === "attention" ? state.step : -1 });
  show();
  announce();
}

async function chooseStep(index) {
  const step = steps[index];
  Object.assign(state, { step: index, mode: step.mode, rolled: Boolean(step.rolled) });
  await chooseBlock(step.block, step.at);
  announce();
}

// ---- showing it -------------------------------------------------------------------------------

function view(slot) {
  return { block, slot, row: weights(block, slot, state.head), rolled: state.rolled, mode: state.mode, strength: state.strength, image: images[state.source] };
}

function layout() {
  const width = byId("frame").clientWidth;
  picture.layout(block, width, Math.max(280, Math.min(720, window.innerHeight * 0.82)));
  show();
}

function show() {
  const token = state.hover >= 0 ? state.hover : state.token;
  const slot = block.grid.slotOf[token];
  const now = view(slot);
  picture.draw(now);
  drawWindow(byId("close-photo"), { ...now, row: null });
  drawWindow(byId("close-heat"), now);
  byId("close-caption").textContent = Math.min(...block.window) <= 6 ? "its weights, in %" : "its weights";
  drawHeads(slot);
  showFacts(token, slot, now.row);
  showKeys(slot, now.row);
  showScale(slot, now.row);
  showChoice();
  keepInAddress();
}

function showChoice() {
  byId("h-canvas").textContent = `Stage ${block.stage + 1}, block ${block.block + 1}: ${block.kind === "SW" ? "shifted windows" : "windows"}`;
  byId("block-text").textContent = blockWords(block);
  document.querySelectorAll(".bead").forEach((bead, i) => press(bead, i === state.block));
  document.querySelectorAll("#heads button").forEach((button, i) => press(button, i - 1 === state.head));
  byId("old-key").hidden = state.rolled || block.kind !== "SW";
  press(byId("as-photo"), !state.rolled);
  press(byId("as-rolled"), state.rolled);
  document.querySelectorAll("#steps button").forEach((button, i) => {
    if (i === state.step) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
  });
  byId("step-text").textContent = state.step >= 0 ? steps[state.step].text : "Choose a step to see it explained on this photo, or point at any token of the picture.";
}

function definitions(list, rows) {
  list.replaceChildren(...rows.flatMap(([name, value, className]) => [make("dt", name), make("dd", value, className)]));
}

// The state of a key for a query: its own part, masked, or padding.
function standing(slot, other) {
  if (!block.grid.sees(slot, other)) return "masked";
  return block.grid.tokens[other] < 0 ? "padding" : "seen";
}

function showFacts(token, slot, row) {
  const { grid, stride } = block;
  const [y, x] = grid.position(token);
  const group = grid.group(slot);
  const parts = grid.parts(group);
  const keys = grid.slots(group);
  const tokens = keys.filter((other) => grid.tokens[other] >= 0);
  const seen = tokens.filter((other) => grid.sees(slot, other)).length;
  const edges = [0, 1].map((axis) => Math.min(manifest.photo.input[axis], ([y, x][axis] + 1) * stride[axis]) - 1);
  const entropy = row.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0);
  const padding = keys.reduce((sum, other, key) => sum + (grid.tokens[other] < 0 ? row[key] : 0), 0);
  definitions(byId("facts"), [
    ["token", `row ${y + 1} of ${grid.rows}, column ${x + 1} of ${grid.columns}`],
    ["pixels", `rows ${y * stride[0]}–${edges[0]}, columns ${x * stride[1]}–${edges[1]}`],
    ["window", `${group + 1} of ${grid.windows}${parts.length > 1 ? `, part ${parts.indexOf(grid.regions[slot]) + 1} of ${parts.length}` : ""}`],
    ["keys", `${seen} seen, ${tokens.length - seen} masked${keys.length > tokens.length ? `, ${keys.length - tokens.length} padding` : ""}`],
    ["spread", `as if over ${Math.exp(entropy).toFixed(1)} keys evenly`],
    ["distance", `${distance(slot, row).toFixed(1)} pixels on average`],
    ...(padding > 0 ? [["to padding", share(padding)]] : []),
    ["head", state.head < 0 ? `mean of ${block.heads}` : `${state.head + 1} of ${block.heads}`],
  ]);
}

// Mean distance between query and keys, in pixels of the model's input.
function distance(slot, row) {
  const { grid, stride } = block;
  const here = grid.place(slot, false);
  return grid.slots(grid.group(slot)).reduce((sum, other, key) => {
    if (!row[key] || grid.tokens[other] < 0) return sum;
    const there = grid.place(other, false);
    return sum + row[key] * Math.hypot((there[0] - here[0]) * stride[0], (there[1] - here[1]) * stride[1]);
  }, 0);
}

function keyRow(slot, other, key, row) {
  const { grid } = block;
  const line = make("tr", undefined, standing(slot, other));
  const name = make("td", undefined);
  const swatch = make("i");
  const status = standing(slot, other);
  if (status === "masked") swatch.className = "hatch";
  else if (status === "padding") swatch.className = "dots";
  else swatch.style.background = css(colour(row[key] / Math.max(...row)));
  name.append(swatch, ` ${key + 1}`);
  const token = grid.tokens[other];
  const where = token < 0 ? "padding" : `row ${Math.floor(token / grid.columns) + 1}, column ${(token % grid.columns) + 1}${other === slot ? " (itself)" : ""}`;
  const weight = make("td", status === "masked" && row[key] === 0 ? "masked, 0" : share(row[key]), "number");
  weight.dataset.weight = row[key].toFixed(6);
  weight.dataset.token = token;
  line.append(name, make("td", where), weight);
  return line;
}

function showKeys(slot, row) {
  const slots = block.grid.slots(block.grid.group(slot));
  const order = [...row.keys()].sort((a, b) => row[b] - row[a]);
  byId("keys").replaceChildren(...order.slice(0, 5).map((key) => keyRow(slot, slots[key], key, row)));
  byId("all-summary").textContent = `All ${slots.length} keys of the window`;
  // A long table is only filled while it is open.
  byId("all-keys").replaceChildren(...(byId("all").open ? slots.map((other, key) => keyRow(slot, other, key, row)) : []));
}

function showScale(slot, row) {
  const context = byId("scale").getContext("2d");
  for (let x = 0; x < 256; x++) { context.fillStyle = css(colour(x / 255)); context.fillRect(x, 0, 1, 12); }
  byId("scale-text").replaceChildren(make("span", "0 %"), make("span", "weight"), make("span", share(Math.max(...row))));
}

function buildHeads() {
  const names = ["mean", ...(block.each ? Array.from({ length: block.heads }, (_, i) => String(i + 1)) : [])];
  byId("heads").replaceChildren(...names.map((name, i) => {
    const button = make("button");
    button.type = "button";
    button.setAttribute("aria-label", i ? `head ${name}` : "mean of all heads");
    const canvas = make("canvas");
    canvas.setAttribute("aria-hidden", "true");
    button.append(canvas, make("span", name));
    button.addEventListener("click", () => { state.head = i - 1; show(); announce(); });
    return button;
  }));
  byId("heads-note").textContent = block.each ? "" : `This report keeps only the mean of this block's ${block.heads} heads, to stay small.`;
}

function drawHeads(slot) {
  byId("heads").querySelectorAll("canvas").forEach((canvas, i) => drawHead(canvas, block, slot, weights(block, slot, i - 1)));
}

// Say the choice for those who listen; after a pause, so that a held key does not flood them.
let pause = 0;
function announce() {
  clearTimeout(pause);
  pause = setTimeout(() => {
    const slot = block.grid.slotOf[state.token];
    const row = weights(block, slot, state.head);
    const best = row.indexOf(Math.max(...row));
    const facts = [...byId("facts").querySelectorAll("dd")].map((item) => item.textContent);
    const token = block.grid.tokens[block.grid.group(slot) * block.grid.places + best];
    const [y, x] = block.grid.position(Math.max(0, token));
    byId("live").textContent = `Stage ${block.stage + 1}, block ${block.block + 1}, ${block.kind === "SW" ? "shifted windows" : "windows"}. Token ${facts[0]}. Window ${facts[2]}. Keys: ${facts[3]}. Strongest: ${token < 0 ? "padding" : `row ${y + 1}, column ${x + 1}`}, ${share(row[best])}.`;
  }, 250);
}
