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
const tone = (block) => (block.second ? "sw" : "w"); // of two kinds that take turns, each has a colour
const glyph = (block) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", `glyph ${tone(block)}`);
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", block.glyph);
  svg.append(path);
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
  const prefix = !at && block && block.grid.isPrefix(state.token);
  const place = at || (block && !prefix ? tokenCentre(state.token) : [0.5, 0.5]);
  block = next;
  state.block = index;
  state.hover = -1;
  state.token = prefix && state.token < block.prefix ? state.token : tokenAt(place);
  if (!block.each) state.head = -1;
  else state.head = Math.min(state.head, block.heads - 1);
  buildPrefix();
  buildHeads();
  layout();
}

// The middle of a token as a share of the photo's height and width, and back.
function tokenCentre(token) {
  return block.grid.position(token).map((p, axis) => (p + 0.5) * block.stride[axis] / manifest.photo.input[axis]);
}
function tokenAt(place) {
  const [y, x] = place.map((p, axis) => Math.min(block.spatial[axis] - 1, Math.max(0, Math.floor(p * manifest.photo.input[axis] / block.stride[axis]))));
  return block.prefix + y * block.spatial[1] + x;
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
  if (step.prefix) { state.token = 0; show(); }
  announce();
}

// ---- showing it -------------------------------------------------------------------------------

function view(slot) {
  const { grid } = block;
  const row = weights(block, slot, state.head);
  const group = grid.group(slot);
  const rolled = Boolean(block.cut && state.rolled);
  // Keys that share a place are coloured by what they get together.
  const most = Math.max(greatest(row), greatest(spotWeights(grid, group, row, rolled)));
  return { block, slot, row, most, rolled, table: grid.table(group), mode: state.mode, strength: state.strength, image: images[state.source] };
}

function layout() {
  const beside = block.prefix ? byId("prefix").offsetWidth + 8 : 0;
  picture.layout(block, byId("frame").clientWidth - beside, Math.max(280, Math.min(720, window.innerHeight * 0.82)));
  show();
}

function show() {
  const token = state.hover >= 0 ? state.hover : state.token;
  const slot = block.grid.slotOf[token];
  const now = view(slot);
  picture.draw(now);
  drawKeys(byId("close-photo"), { ...now, row: null });
  drawKeys(byId("close-heat"), now);
  byId("close-caption").textContent = `${now.table.listed ? "their weights, as a list" : "their weights"}${Math.min(now.table.rows, now.table.columns) <= 6 ? ", in %" : ""}`;
  drawHeads(slot, now.table);
  showPrefix(token, now);
  showFacts(token, slot, now.row);
  showKeys(slot, now);
  showScale(now.most);
  showChoice();
  keepInAddress();
}

// Prefix tokens have no place in the photo: they stand beside it, coloured as keys, to be chosen.
function buildPrefix() {
  byId("prefix").hidden = !block.prefix;
  byId("prefix").replaceChildren(...Array.from({ length: block.prefix }, (_, token) => {
    const button = make("button");
    button.type = "button";
    button.append(make("i"), make("span", block.prefix > 1 ? `+${token + 1}` : "+"));
    button.addEventListener("click", () => chooseToken(token));
    return button;
  }));
}

function showPrefix(chosen, { slot, row, most }) {
  const start = block.grid.group(slot) * block.grid.answering;
  [...byId("prefix").children].forEach((button, token) => {
    const key = block.grid.keys.subarray(start, start + block.grid.answering).indexOf(token);
    const said = `prefix token ${token + 1}${key < 0 ? "" : `, gets ${share(row[key])}`}`;
    button.firstChild.style.background = key < 0 || state.mode !== "attention" ? "" : css(colour(row[key] / most));
    button.title = said;
    button.setAttribute("aria-label", said);
    press(button, token === chosen);
  });
}

function showChoice() {
  byId("h-canvas").textContent = `Stage ${block.stage + 1}, block ${block.block + 1}: ${block.title}`;
  byId("block-text").textContent = block.text;
  byId("arrangement").hidden = !block.cut;
  document.querySelectorAll(".bead").forEach((bead, i) => press(bead, i === state.block));
  document.querySelectorAll("#heads button").forEach((button, i) => press(button, i - 1 === state.head));
  byId("old-key").hidden = state.rolled || !block.grid.shift.some((n) => n > 0);
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

// The state of a key for a query: of its own part, masked, or padding.
function standing(slot, other) {
  if (!block.grid.sees(slot, other)) return "masked";
  return block.grid.keys[other] < 0 ? "padding" : "seen";
}

function tokenWords(token) {
  const { grid } = block;
  if (token < 0) return "padding";
  if (grid.isPrefix(token)) return `prefix token ${token + 1}`;
  const [y, x] = grid.position(token);
  return `row ${y + 1}, column ${x + 1}`;
}

function keyWords(other) {
  const { grid } = block;
  if (grid.keys[other] < grid.total) return tokenWords(grid.keys[other]);
  const [y0, x0, y1, x1] = grid.box(other, false);
  const span = (from, to) => (to - from > 1 ? `s ${from + 1}–${to}` : ` ${to}`);
  return `row${span(y0, y1)}, column${span(x0, x1)}, pooled`;
}

function placeFacts(token) {
  const { grid, stride } = block;
  if (grid.isPrefix(token)) return [["token", `prefix token ${token + 1} of ${grid.prefix}, without a place`]];
  const [y, x] = grid.position(token);
  const edges = [0, 1].map((axis) => Math.min(manifest.photo.input[axis], ([y, x][axis] + 1) * stride[axis]) - 1);
  return [
    ["token", `row ${y + 1} of ${grid.rows}, column ${x + 1} of ${grid.columns}`],
    ["pixels", `rows ${y * stride[0]}–${edges[0]}, columns ${x * stride[1]}–${edges[1]}`],
  ];
}

function showFacts(token, slot, row) {
  const { grid } = block;
  const group = grid.group(slot);
  const parts = grid.parts(group);
  const keys = grid.members(group);
  const real = keys.filter((other) => grid.keys[other] >= 0);
  const masked = real.filter((other) => !grid.sees(slot, other)).length;
  const entropy = row.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0);
  const sumOf = (is) => keys.reduce((sum, other, key) => sum + (is(grid.keys[other]) ? row[key] : 0), 0);
  const [padding, prefix] = [sumOf((key) => key < 0), sumOf((key) => grid.isPrefix(key))];
  const distances = distance(slot, row);
  definitions(byId("facts"), [
    ...placeFacts(token),
    ...(block.group ? [[block.group, `${group + 1} of ${grid.groups}${parts.length > 1 ? `, part ${parts.indexOf(grid.queryRegions[slot]) + 1} of ${parts.length}` : ""}`]] : []),
    ["keys", `${real.length - masked} seen${block.cut || masked ? `, ${masked} masked` : ""}${keys.length > real.length ? `, ${keys.length - real.length} padding` : ""}`],
    ["spread", `as if over ${Math.exp(entropy).toFixed(1)} keys evenly`],
    ...(distances === null ? [] : [["distance", `${distances.toFixed(1)} pixels on average`]]),
    ...(padding > 0 ? [["to padding", share(padding)]] : []),
    ...(grid.prefix ? [["to prefix", share(prefix)]] : []),
    ["head", state.head < 0 ? `mean of ${block.heads}` : `${state.head + 1} of ${block.heads}`],
  ]);
}

// Mean distance between the middles of query and keys, in pixels of the model's input; of the
// attention that goes to places in the photo. Null for a query without a place.
function distance(slot, row) {
  const { grid, stride } = block;
  const here = grid.place(slot, false);
  if (!here) return null;
  let [sum, placed] = [0, 0];
  grid.members(grid.group(slot)).forEach((other, key) => {
    if (!row[key] || grid.keys[other] < grid.prefix) return;
    const [y0, x0, y1, x1] = tokenBox(grid, other);
    placed += row[key];
    sum += row[key] * Math.hypot(((y0 + y1 - 1) / 2 - here[0]) * stride[0], ((x0 + x1 - 1) / 2 - here[1]) * stride[1]);
  });
  return placed ? sum / placed : 0;
}

function keyRow(slot, other, key, row, most) {
  const { grid } = block;
  const status = standing(slot, other);
  const line = make("tr", undefined, status);
  const name = make("td", undefined);
  const swatch = make("i");
  if (status === "masked") swatch.className = "hatch";
  else if (status === "padding") swatch.className = "dots";
  else swatch.style.background = css(colour(row[key] / most));
  name.append(swatch, ` ${key + 1}`);
  const weight = make("td", status === "masked" && row[key] === 0 ? "masked, 0" : share(row[key]), "number");
  weight.dataset.weight = row[key].toFixed(6);
  weight.dataset.token = grid.keys[other];
  line.append(name, make("td", `${keyWords(other)}${grid.keys[other] === grid.queries[slot] ? " (itself)" : ""}`), weight);
  return line;
}

function showKeys(slot, { row, most }) {
  const keys = block.grid.members(block.grid.group(slot));
  const order = [...row.keys()].sort((a, b) => row[b] - row[a]);
  byId("keys").replaceChildren(...order.slice(0, 5).map((key) => keyRow(slot, keys[key], key, row, most)));
  byId("all-summary").textContent = `All ${keys.length} keys${block.group ? ` of the ${block.group}` : ""}`;
  // A long table is only filled while it is open.
  byId("all-keys").replaceChildren(...(byId("all").open ? keys.map((other, key) => keyRow(slot, other, key, row, most)) : []));
}

function showScale(most) {
  const context = byId("scale").getContext("2d");
  for (let x = 0; x < 256; x++) { context.fillStyle = css(colour(x / 255)); context.fillRect(x, 0, 1, 12); }
  byId("scale-text").replaceChildren(make("span", "0 %"), make("span", "weight"), make("span", share(most)));
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

function drawHeads(slot, table) {
  byId("heads").querySelectorAll("canvas").forEach((canvas, i) => drawHead(canvas, block, slot, weights(block, slot, i - 1), table));
}

// Say the choice for those who listen; after a pause, so that a held key does not flood them.
let pause = 0;
function announce() {
  clearTimeout(pause);
  pause = setTimeout(() => {
    const slot = block.grid.slotOf[state.token];
    const row = weights(block, slot, state.head);
    const best = row.indexOf(greatest(row));
    const names = [...byId("facts").querySelectorAll("dt")].map((item) => item.textContent);
    const facts = [...byId("facts").querySelectorAll("dd")].map((item) => item.textContent);
    const told = names.flatMap((name, i) => (["token", block.group, "keys"].includes(name) ? [`${capital(name)}${name === "keys" ? ":" : ""} ${facts[i]}.`] : []));
    const strongest = keyWords(block.grid.group(slot) * block.grid.answering + best);
    byId("live").textContent = `Stage ${block.stage + 1}, block ${block.block + 1}, ${block.title}. ${told.join(" ")} Strongest: ${strongest}, ${share(row[best])}.`;
  }, 250);
}
