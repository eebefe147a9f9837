// Painting: the photo with its groups, the keys cut out, small maps of heads and stages.
"use strict";

const MARK = "#ffd84a";

// Size a canvas for the screen's pixels and return its pen, in CSS pixels.
function pen(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  context.setTransform(w / width, 0, 0, h / height, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

function fillWith(context, tileImage, x, y, w, h) {
  context.fillStyle = context.createPattern(tileImage, "repeat");
  context.fillRect(x, y, w, h);
}

// A line that shows on light and on dark: `ink` over a dark halo.
function strokeEdges(context, edges, unit, ink, width, dash = [], halo = 2) {
  context.beginPath();
  for (const [y0, x0, y1, x1] of edges) { context.moveTo(x0 * unit[1], y0 * unit[0]); context.lineTo(x1 * unit[1], y1 * unit[0]); }
  context.lineCap = dash.length ? "butt" : "square";
  context.setLineDash([]);
  context.strokeStyle = "rgb(0 0 0 / .55)";
  context.lineWidth = width + halo;
  if (halo) context.stroke();
  context.setLineDash(dash);
  context.strokeStyle = ink;
  context.lineWidth = width;
  context.stroke();
  context.setLineDash([]);
}

const greatest = (numbers) => numbers.reduce((most, n) => Math.max(most, n), 0);

// The main picture. A view holds the block, the slot and its row of weights, the greatest weight to
// be coloured, the `table` of its keys, `rolled`, the mode
// ("photo", "patches" or "attention"), the strength of the heat and the image to show.
class Picture {
  constructor(canvas) { this.canvas = canvas; }

  // CSS pixels of one token, for a picture of the given width.
  layout(block, width, highest) {
    const [high, wide] = block.grid.padded.map((n, axis) => n * block.stride[axis]);
    this.scale = Math.min(width / wide, highest / high);
    this.unit = block.stride.map((samples) => samples * this.scale);
    [this.width, this.height] = [wide * this.scale, high * this.scale];
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.height}px`;
  }

  draw(view) {
    const context = pen(this.canvas, this.width, this.height);
    context.drawImage(this.background(view), 0, 0, this.width, this.height);
    if (view.mode !== "attention" || !view.row) return;
    this.heat(context, view);
    this.selection(context, view);
  }

  // What stays while tokens are pointed at is painted once: photo, padding, tokens, windows.
  background(view) {
    const { block, rolled, mode, image } = view;
    const key = [block.index, rolled, mode, image.id, this.width, window.devicePixelRatio].join();
    if (this.key !== key) {
      this.still = document.createElement("canvas");
      const context = pen(this.still, this.width, this.height);
      this.photo(context, view);
      if (mode !== "photo") this.tokens(context, view);
      if (mode === "attention") this.groups(context, view);
      this.key = key;
    }
    return this.still;
  }

  // The borders of groups, where the groups are not too scattered for borders to mean anything.
  groups(context, { block, rolled }) {
    const { grid } = block;
    const moved = grid.shift[0] > 0 || grid.shift[1] > 0;
    if (moved && !rolled) this.unshifted(context, grid);
    // Where the roll brought distant parts together, a dashed seam parts them.
    const part = (y, x) => {
      const slot = grid.slotAt(y, x, true);
      return `${grid.group(slot)} ${grid.queries[slot] < 0 ? "" : grid.queryRegions[slot]}`;
    };
    if (moved && rolled) strokeEdges(context, grid.edges(part, grid.cells()), this.unit, "rgb(255 255 255 / .85)", 1, [3, 4], 1);
    const edges = grid.edges((y, x) => grid.group(grid.slotAt(y, x, rolled)), grid.cells());
    if (edges.length > 3 * grid.padded[0] * grid.padded[1]) return;
    strokeEdges(context, edges, this.unit, "rgb(255 255 255 / .9)", 1, [], 1);
  }

  // Where the borders would lie without the shift.
  unshifted(context, { padded, cut: { window } }) {
    const edges = [];
    for (let y = window[0]; y < padded[0]; y += window[0]) edges.push([y, 0, y, padded[1]]);
    for (let x = window[1]; x < padded[1]; x += window[1]) edges.push([0, x, padded[0], x]);
    strokeEdges(context, edges, this.unit, MARK, 1, [2, 4], 0);
  }

  // The photo on its padded grid; rolled, what leaves at one edge comes back at the other.
  photo(context, view) {
    const { grid } = view.block;
    const [high, wide] = manifest.photo.input.map((n) => n * this.scale);
    const [sy, sx] = view.rolled ? grid.shift.map((n, axis) => n * this.unit[axis]) : [0, 0];
    fillWith(context, DOTS, 0, 0, this.width, this.height);
    context.imageSmoothingEnabled = view.image.id !== "seen";
    for (const y of sy ? [-sy, this.height - sy] : [0]) {
      for (const x of sx ? [-sx, this.width - sx] : [0]) {
        context.save();
        context.beginPath();
        context.rect(x, y, this.width, this.height);
        context.clip();
        context.drawImage(view.image, x, y, wide, high);
        context.restore();
      }
    }
    for (const [y, x] of grid.cells()) {
      // A token at the edge may be partly photo; what lies outside every token is padding.
      if (grid.queries[grid.slotAt(y, x, view.rolled)] < 0) fillWith(context, DOTS, x * this.unit[1], y * this.unit[0], this.unit[1], this.unit[0]);
    }
  }

  tokens(context, { block, mode }) {
    const strong = mode === "patches";
    if (Math.min(...this.unit) < (strong ? 3 : 7)) return;
    const lines = [];
    for (let y = 1; y < block.grid.padded[0]; y++) lines.push([y, 0, y, block.grid.padded[1]]);
    for (let x = 1; x < block.grid.padded[1]; x++) lines.push([0, x, block.grid.padded[0], x]);
    context.beginPath();
    for (const [y0, x0, y1, x1] of lines) { context.moveTo(x0 * this.unit[1], y0 * this.unit[0]); context.lineTo(x1 * this.unit[1], y1 * this.unit[0]); }
    context.strokeStyle = `rgb(255 255 255 / ${strong ? 0.65 : 0.22})`;
    context.lineWidth = 1;
    context.stroke();
  }

  heat(context, { block, slot, row, most, rolled, strength }) {
    const { grid } = block;
    const group = grid.group(slot);
    const { rects, spotOf, first } = grid.spots(group, rolled);
    const sums = spotWeights(grid, group, row, rolled);
    const inPixels = ([y0, x0, y1, x1]) => [x0 * this.unit[1], y0 * this.unit[0], (x1 - x0) * this.unit[1], (y1 - y0) * this.unit[0]];
    context.save();
    context.beginPath();
    context.rect(0, 0, this.width, this.height);
    for (const parts of rects) for (const part of parts) context.rect(...inPixels(part));
    context.fillStyle = "rgb(12 10 18 / .3)";
    context.fill("evenodd");
    context.restore();
    const seen = new Uint8Array(rects.length);
    spotOf.forEach((spot, key) => { if (spot >= 0 && grid.sees(slot, group * grid.answering + key)) seen[spot] = 1; });
    rects.forEach((parts, spot) => {
      if (grid.keys[first[spot]] < 0) return;
      context.fillStyle = css(colour(sums[spot] / most), strength);
      for (const part of parts) {
        if (seen[spot]) context.fillRect(...inPixels(part));
        else fillWith(context, HATCH, ...inPixels(part));
      }
    });
  }

  selection(context, { block, slot, rolled }) {
    const { grid } = block;
    const { cover, first, pooled, cells } = grid.spots(grid.group(slot), rolled);
    const at = (y, x) => cover[y * grid.padded[1] + x];
    const part = (y, x) => (at(y, x) < 0 ? null : grid.keyRegions[first[at(y, x)]]);
    const own = cells.filter(([y, x]) => grid.sees(slot, first[at(y, x)]));
    if (pooled) strokeEdges(context, grid.edges(at, cells), this.unit, "rgb(255 255 255 / .4)", 1, [], 0);
    strokeEdges(context, grid.edges(part, cells), this.unit, "#fff", 2, [5, 4]);
    strokeEdges(context, grid.edges(part, own), this.unit, "#fff", 3);
    const place = grid.place(slot, rolled);
    if (place) strokeEdges(context, outline(...place), this.unit, MARK, 3);
  }

  // The slot under a point given in CSS pixels of the canvas.
  hit(block, x, y, rolled) {
    return block.grid.slotAt(Math.floor(y / this.unit[0]), Math.floor(x / this.unit[1]), rolled);
  }
}

const outline = (y, x) => [[y, x, y, x + 1], [y, x + 1, y + 1, x + 1], [y + 1, x + 1, y + 1, x], [y + 1, x, y, x]];

// The weight of every spot: of all keys that lie there.
function spotWeights(grid, group, row, rolled) {
  const { boxes, spotOf } = grid.spots(group, rolled);
  const sums = new Float64Array(boxes.length);
  spotOf.forEach((spot, key) => { if (spot >= 0) sums[spot] += row[key]; });
  return sums;
}

// A group's keys alone, cell by cell: with `row` their weights, else their part of the photo.
function drawKeys(canvas, { block, slot, row, most, image, table }) {
  const { grid, stride } = block;
  const { rows, columns, shape } = table;
  const side = canvas.clientWidth || 160;
  const unit = [side / columns * (shape[0] * stride[0]) / (shape[1] * stride[1]), side / columns];
  canvas.style.height = `${unit[0] * rows}px`;
  const context = pen(canvas, side, unit[0] * rows);
  const group = grid.group(slot);
  table.at.forEach((cell, key) => {
    if (cell < 0) return;
    const other = group * grid.answering + key;
    const box = [cell % columns * unit[1], Math.floor(cell / columns) * unit[0], unit[1] + 0.5, unit[0] + 0.5];
    if (grid.keys[other] < 0) fillWith(context, DOTS, ...box);
    else if (row && !grid.sees(slot, other)) fillWith(context, HATCH, ...box);
    else if (row) drawWeight(context, row[key], most, box);
    else if (grid.isPrefix(grid.keys[other])) { context.fillStyle = "#77727f"; context.fillRect(...box); }
    else drawPart(context, image, tokenBox(grid, other), stride, box);
  });
  if (!row) strokeEdges(context, tokenEdges(rows, columns), unit, "rgb(255 255 255 / .35)", 1, [], 0);
  strokeEdges(context, partEdges(grid, group, table), unit, "#fff", 2);
  const own = table.at[ownKey(grid, slot)];
  if (own >= 0) strokeEdges(context, outline(Math.floor(own / columns), own % columns), unit, MARK, 3);
}

// A key's tokens as they lie in the photo.
function tokenBox(grid, other) {
  const token = grid.keys[other];
  if (!grid.isToken(token)) return grid.box(other, false);
  const [y, x] = grid.position(token);
  return [y, x, y + 1, x + 1];
}

// The key that is the asking token itself, or -1.
function ownKey(grid, slot) {
  const start = grid.group(slot) * grid.answering;
  return grid.keys.subarray(start, start + grid.answering).indexOf(grid.queries[slot]);
}

// Borders between the parts of a cut-out that may not see one another.
function partEdges(grid, group, { rows, columns, keyAt, listed }) {
  const edges = [];
  if (listed) return edges;
  const label = (y, x) => { const key = keyAt[y * columns + x]; return key < 0 ? null : grid.keyRegions[group * grid.answering + key]; };
  for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) {
    if (x + 1 < columns && label(y, x) !== label(y, x + 1)) edges.push([y, x + 1, y + 1, x + 1]);
    if (y + 1 < rows && label(y, x) !== label(y + 1, x)) edges.push([y + 1, x, y + 1, x + 1]);
  }
  return edges;
}

function tokenEdges(rows, columns) {
  const edges = [];
  for (let y = 1; y < rows; y++) edges.push([y, 0, y, columns]);
  for (let x = 1; x < columns; x++) edges.push([0, x, rows, x]);
  return edges;
}

// A key's own pixels, taken from `image`, which shows exactly the model's input.
function drawPart(context, image, [y0, x0, y1, x1], stride, box) {
  const [high, wide] = manifest.photo.input;
  const [fy, fx] = [image.naturalHeight / high * stride[0], image.naturalWidth / wide * stride[1]];
  fillWith(context, DOTS, ...box); // what lies at the edge may be partly outside the photo
  context.drawImage(image, x0 * fx, y0 * fy, (x1 - x0) * fx, (y1 - y0) * fy, ...box);
}

function drawWeight(context, weight, most, [x, y, w, h]) {
  const shade = colour(weight / most);
  context.fillStyle = css(shade);
  context.fillRect(x, y, w, h);
  if (Math.min(w, h) < 26) return;
  context.fillStyle = inkOn(shade);
  context.font = `${Math.min(13, w / 2.6)}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText((100 * weight).toFixed(weight < 0.0995 ? 1 : 0), x + w / 2, y + h / 2);
}

// A head in small: one pixel a key, enlarged by the style sheet.
function drawHead(canvas, block, slot, row, table) {
  const { grid } = block;
  [canvas.width, canvas.height] = [table.columns, table.rows];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(table.columns, table.rows);
  const most = greatest(row);
  const group = grid.group(slot);
  row.forEach((weight, key) => {
    if (table.at[key] < 0 || !grid.sees(slot, group * grid.answering + key)) return;
    pixels.data.set([...colour(weight / most), 255], 4 * table.at[key]);
  });
  context.putImageData(pixels, 0, 0);
}

// A stage in small: one pixel a token, from the photo, in the photo's shape.
function drawStage(canvas, [rows, columns], image) {
  [canvas.width, canvas.height] = [columns, rows];
  canvas.style.aspectRatio = `${manifest.photo.input[1]} / ${manifest.photo.input[0]}`;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, columns, rows);
}
