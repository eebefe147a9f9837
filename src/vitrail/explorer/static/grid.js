// Where the tokens of a block are: in the photo, and as the block computes them (padded and rolled).
"use strict";

class Grid {
  // `tokens` and `regions` hold, for every place of every window in turn, the token that lies there
  // (-1: padding) and its label (tokens of a window see one another when their labels are equal).
  constructor(block, tokens, regions) {
    [this.rows, this.columns] = block.spatial;
    this.window = block.window;
    this.shift = block.shift;
    this.padded = block.spatial.map((n, axis) => Math.ceil(n / this.window[axis]) * this.window[axis]);
    this.places = this.window[0] * this.window[1];
    this.across = this.padded[1] / this.window[1];
    this.windows = (this.padded[0] / this.window[0]) * this.across;
    this.tokens = tokens;
    this.regions = regions;
    this.slotOf = new Int32Array(this.rows * this.columns);
    tokens.forEach((token, slot) => { if (token >= 0) this.slotOf[token] = slot; });
    this.maps = [this.map(false), this.map(true)];
  }

  // Row and column of a slot; `rolled` as the block computes it, else as it lies in the photo.
  place(slot, rolled) {
    const [group, key] = [Math.floor(slot / this.places), slot % this.places];
    const y = Math.floor(group / this.across) * this.window[0] + Math.floor(key / this.window[1]);
    const x = (group % this.across) * this.window[1] + (key % this.window[1]);
    if (rolled) return [y, x];
    return [(y + this.shift[0]) % this.padded[0], (x + this.shift[1]) % this.padded[1]];
  }

  map(rolled) {
    const slots = new Int32Array(this.padded[0] * this.padded[1]);
    for (let slot = 0; slot < this.tokens.length; slot++) {
      const [y, x] = this.place(slot, rolled);
      slots[y * this.padded[1] + x] = slot;
    }
    return slots;
  }

  // The slot at a row and column, or -1 outside.
  slotAt(y, x, rolled) {
    if (y < 0 || x < 0 || y >= this.padded[0] || x >= this.padded[1]) return -1;
    return this.maps[rolled ? 1 : 0][y * this.padded[1] + x];
  }

  group(slot) { return Math.floor(slot / this.places); }
  slots(group) { return Array.from({ length: this.places }, (_, key) => group * this.places + key); }
  position(token) { return [Math.floor(token / this.columns), token % this.columns]; }

  // May the query see the key? Both are slots of one window.
  sees(query, key) { return this.regions[query] === this.regions[key]; }

  // Number the parts of a window: slots with equal labels, in order; padding of its own has none.
  parts(group) {
    const labels = new Set();
    for (const slot of this.slots(group)) {
      if (this.tokens[slot] >= 0) labels.add(this.regions[slot]);
    }
    return [...labels];
  }

  // The edges [y0, x0, y1, x1] between neighbouring cells whose `name(slot)` differs.
  edges(rolled, name, cells) {
    const found = [];
    const look = (y, x) => { const slot = this.slotAt(y, x, rolled); return slot < 0 ? null : name(slot); };
    for (const [y, x] of cells) {
      const here = look(y, x);
      if (look(y, x - 1) !== here) found.push([y, x, y + 1, x]);
      if (look(y, x + 1) !== here) found.push([y, x + 1, y + 1, x + 1]);
      if (look(y - 1, x) !== here) found.push([y, x, y, x + 1]);
      if (look(y + 1, x) !== here) found.push([y + 1, x, y + 1, x + 1]);
    }
    return found;
  }

  *cells() {
    for (let y = 0; y < this.padded[0]; y++) for (let x = 0; x < this.padded[1]; x++) yield [y, x];
  }
}
