// Painting: the photo with its windows, the window cut out, small maps of heads and stages.
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

// The main picture. A view holds the block, the slot and its row of weights, `rolled`, the mode
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
      if (mode === "attention") this.windows(context, view);
      this.key = key;
    }
    return this.still;
  }

  windows(context, { block, rolled }) {
    const { grid } = block;
    const moved = grid.shift[0] > 0 || grid.shift[1] > 0;
    if (moved && !rolled) this.unshifted(context, grid);
    // Where the roll brought distant parts together, a dashed seam parts them.
    const part = (slot) => `${grid.group(slot)} ${grid.tokens[slot] < 0 ? "" : grid.regions[slot]}`;
    if (moved && rolled) strokeEdges(context, grid.edges(true, part, grid.cells()), this.unit, "rgb(255 255 255 / .85)", 1, [3, 4], 1);
    const edges = grid.edges(rolled, (slot) => grid.group(slot), grid.cells());
    strokeEdges(context, edges, this.unit, "rgb(255 255 255 / .9)", 1, [], 1);
  }

  // Where the borders would lie without the shift.
  unshifted(context, { padded, window }) {
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
      if (grid.tokens[grid.slotAt(y, x, view.rolled)] < 0) fillWith(context, DOTS, x * this.unit[1], y * this.unit[0], this.unit[1], this.unit[0]);
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

  heat(context, { block, slot, row, rolled, strength }) {
    const { grid } = block;
    const most = Math.max(...row);
    const group = grid.group(slot);
    context.save();
    context.beginPath();
    context.rect(0, 0, this.width, this.height);
    const boxes = grid.slots(group).map((key) => {
      const [y, x] = grid.place(key, rolled);
      return [x * this.unit[1], y * this.unit[0], this.unit[1], this.unit[0]];
    });
    for (const box of boxes) context.rect(...box);
    context.fillStyle = "rgb(12 10 18 / .3)";
    context.fill("evenodd");
    context.restore();
    boxes.forEach((box, key) => {
      const other = group * grid.places + key;
      if (grid.tokens[other] < 0) return;
      if (!grid.sees(slot, other)) { fillWith(context, HATCH, ...box); return; }
      context.fillStyle = css(colour(row[key] / most), strength);
      context.fillRect(...box);
    });
  }

  selection(context, { block, slot, rolled }) {
    const { grid } = block;
    const group = grid.group(slot);
    const cells = grid.slots(group).map((key) => grid.place(key, rolled));
    const part = (key) => (grid.group(key) === group ? grid.regions[key] : null);
    const own = grid.slots(group).filter((key) => grid.sees(slot, key)).map((key) => grid.place(key, rolled));
    strokeEdges(context, grid.edges(rolled, part, cells), this.unit, "#fff", 2, [5, 4]);
    strokeEdges(context, grid.edges(rolled, part, own), this.unit, "#fff", 3);
    const [y, x] = grid.place(slot, rolled);
    strokeEdges(context, [[y, x, y, x + 1], [y, x + 1, y + 1, x + 1], [y + 1, x + 1, y + 1, x], [y + 1, x, y, x]], this.unit, MARK, 3);
  }

  // The slot under a point given in CSS pixels of the canvas.
  hit(block, x, y, rolled) {
    return block.grid.slotAt(Math.floor(y / this.unit[0]), Math.floor(x / this.unit[1]), rolled);
  }
}

// The window alone, cell by cell: with `row` its weights, else its part of the photo.
function drawWindow(canvas, { block, slot, row, image }) {
  const { grid, stride } = block;
  const [rows, columns] = grid.window;
  const side = canvas.clientWidth || 160;
  const unit = [side / columns * (stride[0] / stride[1]), side / columns];
  canvas.style.height = `${unit[0] * rows}px`;
  const context = pen(canvas, side, unit[0] * rows);
  const group = grid.group(slot);
  const most = row ? Math.max(...row) : 1;
  grid.slots(group).forEach((other, key) => {
    const [y, x] = [Math.floor(key / columns), key % columns];
    const box = [x * unit[1], y * unit[0], unit[1] + 0.5, unit[0] + 0.5];
    if (grid.tokens[other] < 0) fillWith(context, DOTS, ...box);
    else if (!row) drawToken(context, image, grid.position(grid.tokens[other]), stride, box);
    else if (!grid.sees(slot, other)) fillWith(context, HATCH, ...box);
    else drawWeight(context, row[key], most, box);
  });
  const inside = (y, x) => (y < 0 || x < 0 || y >= rows || x >= columns ? null : grid.regions[group * grid.places + y * columns + x]);
  const edges = [];
  for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) {
    if (x + 1 < columns && inside(y, x) !== inside(y, x + 1)) edges.push([y, x + 1, y + 1, x + 1]);
    if (y + 1 < rows && inside(y, x) !== inside(y + 1, x)) edges.push([y + 1, x, y + 1, x + 1]);
  }
  if (!row) strokeEdges(context, tokenEdges(rows, columns), unit, "rgb(255 255 255 / .35)", 1, [], 0);
  strokeEdges(context, edges, unit, "#fff", 2);
  const key = slot % grid.places;
  const [y, x] = [Math.floor(key / columns), key % columns];
  strokeEdges(context, [[y, x, y, x + 1], [y, x + 1, y + 1, x + 1], [y + 1, x + 1, y + 1, x], [y + 1, x, y, x]], unit, MARK, 3);
}

function tokenEdges(rows, columns) {
  const edges = [];
  for (let y = 1; y < rows; y++) edges.push([y, 0, y, columns]);
  for (let x = 1; x < columns; x++) edges.push([0, x, rows, x]);
  return edges;
}

// A token's own pixels, taken from `image`, which shows exactly the model's input.
function drawToken(context, image, [y, x], stride, box) {
  const [high, wide] = manifest.photo.input;
  const [fy, fx] = [image.naturalHeight / high, image.naturalWidth / wide];
  fillWith(context, DOTS, ...box); // a token at the edge may lie partly outside the photo
  context.drawImage(image, x * stride[1] * fx, y * stride[0] * fy, stride[1] * fx, stride[0] * fy, ...box);
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
function drawHead(canvas, block, slot, row) {
  const { grid } = block;
  const [rows, columns] = grid.window;
  [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  const most = Math.max(...row);
  const group = grid.group(slot);
  row.forEach((weight, key) => {
    const other = group * grid.places + key;
    if (!grid.sees(slot, other)) return;
    pixels.data.set([...colour(weight / most), 255], 4 * key);
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
