// Which queries meet which keys in a block, and where they lie: in the photo, and as the block
// computes them (padded and rolled, where it cuts its grid so).
"use strict";

class Grid {
  // Arrays of a block, for every place of every group in turn: `queries` and `keys` hold the token
  // (-1: padding), counting prefix tokens first, then the grid, then pooled cells; regions are
  // labels (a query sees the keys of its group with an equal one); `boxes`, where keys are pooled,
  // hold the tokens that each key stands for: first and past-last row, first and past-last column.
  constructor(block, arrays) {
    Object.assign(this, arrays);
    [this.rows, this.columns] = block.spatial;
    this.prefix = block.prefix;
    this.total = this.prefix + this.rows * this.columns;
    [this.groups, this.asking] = manifest.arrays[block.queries].shape;
    this.answering = manifest.arrays[block.keys].shape[1];
    this.cut = block.cut;
    this.shift = block.cut ? block.cut.shift : [0, 0];
    this.padded = block.spatial.map((n, axis) => (this.cut ? Math.ceil(n / this.cut.window[axis]) * this.cut.window[axis] : n));
    this.slotOf = new Int32Array(this.total);
    this.queries.forEach((token, slot) => { if (token >= 0) this.slotOf[token] = slot; });
    if (this.cut) this.maps = [this.map(false), this.map(true)];
    this.drawn = new Map();
  }

  // Row and column of a query; `rolled` as the block computes it, else as it lies in the photo.
  // Null for what has no place: prefix tokens, and padding that no cut arranges.
  place(slot, rolled) {
    if (!this.cut) {
      const token = this.queries[slot] - this.prefix;
      return token < 0 ? null : [Math.floor(token / this.columns), token % this.columns];
    }
    const window = this.cut.window;
    const across = this.padded[1] / window[1];
    const [group, key] = [Math.floor(slot / this.asking), slot % this.asking];
    const y = Math.floor(group / across) * window[0] + Math.floor(key / window[1]);
    const x = (group % across) * window[1] + (key % window[1]);
    if (rolled) return [y, x];
    return [(y + this.shift[0]) % this.padded[0], (x + this.shift[1]) % this.padded[1]];
  }

  map(rolled) {
    const slots = new Int32Array(this.padded[0] * this.padded[1]);
    for (let slot = 0; slot < this.queries.length; slot++) {
      const [y, x] = this.place(slot, rolled);
      slots[y * this.padded[1] + x] = slot;
    }
    return slots;
  }

  // The query at a row and column, or -1 outside.
  slotAt(y, x, rolled) {
    if (y < 0 || x < 0 || y >= this.padded[0] || x >= this.padded[1]) return -1;
    if (this.cut) return this.maps[rolled ? 1 : 0][y * this.padded[1] + x];
    return this.slotOf[this.prefix + y * this.columns + x];
  }

  group(slot) { return Math.floor(slot / this.asking); }
  // The keys of a group, as places in `keys`.
  members(group) { return Array.from({ length: this.answering }, (_, key) => group * this.answering + key); }
  isPrefix(token) { return token >= 0 && token < this.prefix; }
  isToken(token) { return token >= 0 && token < this.total; }
  position(token) { return [Math.floor((token - this.prefix) / this.columns), (token - this.prefix) % this.columns]; }
  // May the query see the key? The one is a place in `queries`, the other one in `keys`.
  sees(slot, other) { return this.queryRegions[slot] === this.keyRegions[other]; }

  // Number the parts of a group: keys with equal labels, in order; padding of its own has none.
  parts(group) {
    const labels = new Set();
    for (const other of this.members(group)) {
      if (this.keys[other] >= 0) labels.add(this.keyRegions[other]);
    }
    return [...labels];
  }

  // The tokens [y0, x0, y1, x1] that a key stands for, or null where it has no place.
  box(other, rolled) {
    if (this.cut) {
      const [y, x] = this.place(other, rolled); // in a cut, every group's keys are its queries
      return [y, x, y + 1, x + 1];
    }
    const token = this.keys[other];
    if (token < this.prefix) return null;
    if (token >= this.total) return [0, 2, 1, 3].map((side) => this.boxes[4 * other + side]);
    const [y, x] = this.position(token);
    return [y, x, y + 1, x + 1];
  }

  // What is drawn of a group's keys. Keys of one place share a spot; where spots overlap, the
  // smallest lies on top: `cover` names each cell's spot, and `rects` what each shows of itself.
  spots(group, rolled) {
    return this.remember(`spots ${group} ${rolled}`, () => this.findSpots(group, rolled));
  }

  // Keep what was found for the last few groups.
  remember(name, find) {
    if (!this.drawn.has(name)) {
      if (this.drawn.size > 30) this.drawn.clear();
      this.drawn.set(name, find());
    }
    return this.drawn.get(name);
  }

  findSpots(group, rolled) {
    const [boxes, known] = [[], new Map()];
    const spotOf = this.members(group).map((other) => {
      const box = this.box(other, rolled);
      if (!box) return -1;
      if (!known.has(box.join())) { known.set(box.join(), boxes.length); boxes.push(box); }
      return known.get(box.join());
    });
    const area = ([y0, x0, y1, x1]) => (y1 - y0) * (x1 - x0);
    const cover = new Int32Array(this.padded[0] * this.padded[1]).fill(-1);
    const order = [...boxes.keys()].sort((a, b) => area(boxes[b]) - area(boxes[a]));
    for (const spot of order) {
      const [y0, x0, y1, x1] = boxes[spot];
      for (let y = y0; y < y1; y++) cover.fill(spot, y * this.padded[1] + x0, y * this.padded[1] + x1);
    }
    const rects = boxes.map((box, spot) => this.visible(cover, spot, box));
    const cells = rects.flat().flatMap((part) => [...this.inside(part)]);
    return { boxes, spotOf, cover, rects, cells, first: this.firsts(spotOf, boxes.length, group), pooled: boxes.some((box) => area(box) > 1) };
  }

  // One key of each spot, for its label.
  firsts(spotOf, count, group) {
    const first = new Int32Array(count).fill(-1);
    spotOf.forEach((spot, key) => { if (spot >= 0 && first[spot] < 0) first[spot] = group * this.answering + key; });
    return first;
  }

  // The parts of a box that its own spot covers: all of it, or runs of cells.
  visible(cover, spot, [y0, x0, y1, x1]) {
    const runs = [];
    let whole = true;
    for (let y = y0; y < y1; y++) {
      for (let x = x0, from = -1; x <= x1; x++) {
        const own = x < x1 && cover[y * this.padded[1] + x] === spot;
        if (x < x1 && !own) whole = false;
        if (own && from < 0) from = x;
        if (!own && from >= 0) { runs.push([y, from, y + 1, x]); from = -1; }
      }
    }
    return whole ? [[y0, x0, y1, x1]] : runs;
  }

  *inside([y0, x0, y1, x1]) {
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) yield [y, x];
  }

  // How to lay a group's keys out on their own: as the window they are, as the rectangle that their
  // places form, or else as a list in even rows. `at` names each key's cell, `keyAt` each cell's key.
  table(group) { return this.remember(`table ${group}`, () => this.findTable(group)); }

  findTable(group) {
    const keys = this.members(group);
    const table = this.cut ? { rows: this.cut.window[0], columns: this.cut.window[1], shape: [1, 1], at: keys.map((_, key) => key) }
      : this.rectangle(keys) || this.list(keys);
    table.keyAt = new Int32Array(table.rows * table.columns).fill(-1);
    table.at.forEach((cell, key) => { if (cell >= 0) table.keyAt[cell] = key; });
    return table;
  }

  rectangle(keys) {
    const boxes = keys.map((other) => this.box(other, false));
    const placed = boxes.filter(Boolean);
    const [ys, xs] = [0, 1].map((axis) => [...new Set(placed.map((box) => box[axis]))].sort((a, b) => a - b));
    const [rows, columns] = [ys.length, xs.length];
    if (!placed.length || placed.length !== rows * columns || Math.max(rows, columns) > 4 * Math.min(rows, columns)) return null;
    const [rowOf, columnOf] = [ys, xs].map((starts) => new Map(starts.map((start, i) => [start, i])));
    const at = boxes.map((box) => (box ? rowOf.get(box[0]) * columns + columnOf.get(box[1]) : -1));
    if (new Set(at.filter((cell) => cell >= 0)).size !== placed.length) return null;
    const [y0, x0, y1, x1] = placed[0];
    return { rows, columns, shape: [y1 - y0, x1 - x0], at };
  }

  list(keys) {
    const columns = Math.ceil(Math.sqrt(keys.length));
    return { rows: Math.ceil(keys.length / columns), columns, shape: [1, 1], at: keys.map((_, key) => key), listed: true };
  }

  // The edges [y0, x0, y1, x1] between neighbouring cells whose `name(y, x)` differs.
  edges(name, cells) {
    const found = [];
    const look = (y, x) => (y < 0 || x < 0 || y >= this.padded[0] || x >= this.padded[1] ? null : name(y, x));
    for (const [y, x] of cells) {
      const here = look(y, x);
      if (look(y, x - 1) !== here) found.push([y, x, y + 1, x]);
      if (look(y, x + 1) !== here) found.push([y, x + 1, y + 1, x + 1]);
      if (look(y - 1, x) !== here) found.push([y, x, y, x + 1]);
      if (look(y + 1, x) !== here) found.push([y + 1, x, y + 1, x + 1]);
    }
    return found;
  }

  cells() { return this.inside([0, 0, ...this.padded]); }
}
