// One trace as the views read it: blocks, rows of weights, maps and pictures, loaded on demand.
import { Grid } from "./grid";
import { rollout } from "./rollout";
import { decodeRow, type Block, type Map2d, type Row } from "./rows";
import type { Manifest } from "./schema";
import { Missing, type ArrayData, type Source } from "./source";

// Values of one message to the server or kernel: small enough to come quickly.
const AT_ONCE = 400_000;

export class BlockView {
  private loading: Promise<Grid> | null = null;

  constructor(private readonly source: Source, readonly index: number, readonly facts: Block) {}

  // Which tokens meet, unpacked once.
  load(): Promise<Grid> {
    return this.loading ??= this.unpack().catch((error: unknown) => { this.loading = null; throw error; });
  }

  private async unpack(): Promise<Grid> {
    const { queries, keys, query_regions, key_regions, boxes } = this.facts;
    const numbers = await Promise.all([queries, keys, query_regions, key_regions, boxes]
      .map(async (name) => (name === null ? null : (await this.source.array(name)).data as Int32Array)));
    return new Grid(this.facts, {
      queries: numbers[0] as Int32Array, keys: numbers[1] as Int32Array,
      queryRegions: numbers[2], keyRegions: numbers[3], boxes: numbers[4],
    });
  }
}

export class TraceView {
  readonly manifest: Manifest;
  private readonly blocks: BlockView[];
  private readonly images: Map<string, Promise<ImageBitmap>>;

  // `before` is the same trace as it was when less of it was there: what it unpacked is kept.
  constructor(readonly source: Source, before?: TraceView) {
    this.manifest = source.manifest;
    this.blocks = before?.blocks ?? this.manifest.blocks.map((facts, i) => new BlockView(source, i, facts));
    this.images = before?.images ?? new Map();
  }

  block(index: number): BlockView { return this.blocks[index]; }

  array(name: string): Promise<ArrayData> { return this.source.array(name); }

  // How one token divides its attention; `heads` also loads every head and the bias.
  async row(block: number, token: number, heads = false): Promise<Row> {
    const { facts } = this.blocks[block];
    const grid = await this.blocks[block].load();
    const slot = grid.slotOf[token];
    if (!(slot >= 0)) throw new RangeError(`block ${block} has no token ${token}`);
    const [group, query, start] = [grid.group(slot), slot % grid.queriesPerGroup, grid.group(slot) * grid.keysPerGroup];
    const wanted = heads && this.hasHeads(block) ? this.heads(block, grid, group, query) : null;
    const [each, mean, bias] = await Promise.all([wanted, this.mean(block, grid, slot), heads ? this.bias(facts, group, query) : null]);
    const allowed = Uint8Array.from({ length: grid.keysPerGroup }, (_, key) => (grid.sees(slot, group, key) ? 1 : 0));
    return {
      token, group, query, allowed, mean, heads: each, bias,
      keys: grid.keys.subarray(start, start + grid.keysPerGroup),
      boxes: grid.boxes && grid.boxes.subarray(4 * start, 4 * (start + grid.keysPerGroup)),
    };
  }

  // Are the heads of a block to be had one by one?
  hasHeads(block: number): boolean { return this.blocks[block].facts.attention !== null || this.manifest.on_demand; }

  // May every token of a block be the query, or only the `chosen` ones? Null: every one.
  async askable(block: number): Promise<number[] | null> {
    const { facts } = this.blocks[block];
    if (!facts.chosen || this.manifest.on_demand || facts.attention) return null;
    const [grid, slots] = await Promise.all([this.blocks[block].load(), this.array(facts.chosen)]);
    return Array.from(slots.data, (slot) => grid.queries[slot]).filter((token) => token >= 0);
  }

  // The askable token that lies nearest.
  async nearest(block: number, token: number): Promise<number> {
    const allowed = await this.askable(block);
    if (!allowed || allowed.includes(token)) return token;
    const grid = await this.blocks[block].load();
    const [y, x] = grid.position(token);
    const far = (other: number) => { const [v, u] = grid.position(other); return (v - y) ** 2 + (u - x) ** 2; };
    return allowed.reduce((best, other) => (far(other) < far(best) ? other : best));
  }

  private async mean(block: number, grid: Grid, slot: number): Promise<Float32Array> {
    const { mean, chosen } = this.blocks[block].facts;
    if (mean && !chosen) return decodeRow((await this.array(mean)).data as Uint8Array, slot * grid.keysPerGroup, grid.keysPerGroup);
    if (mean && chosen) {
      const place = ((await this.array(chosen)).data as Int32Array).indexOf(slot);
      if (place >= 0) return decodeRow((await this.array(mean)).data as Uint8Array, place * grid.keysPerGroup, grid.keysPerGroup);
    }
    const each = await this.heads(block, grid, grid.group(slot), slot % grid.queriesPerGroup);
    return each[0].map((_, key) => each.reduce((sum, row) => sum + row[key], 0) / each.length);
  }

  private async heads(block: number, grid: Grid, group: number, query: number): Promise<Float32Array[]> {
    const { facts } = this.blocks[block];
    const heads = Array.from({ length: facts.heads }, (_, head) => head);
    if (facts.attention) {
      const codes = (await this.array(facts.attention)).data as Uint8Array;
      return heads.map((head) => decodeRow(codes, ((group * facts.heads + head) * grid.queriesPerGroup + query) * grid.keysPerGroup, grid.keysPerGroup));
    }
    const most = Math.max(1, Math.min(grid.queriesPerGroup, Math.floor(AT_ONCE / (facts.heads * grid.keysPerGroup))));
    const first = Math.floor(query / most) * most;
    const count = Math.min(most, grid.queriesPerGroup - first);
    const name = `b${block}/rows/${group}/${first}/${count}`;
    if (!this.manifest.on_demand) throw new Missing(name);
    const codes = (await this.array(name)).data as Uint8Array;
    return heads.map((head) => decodeRow(codes, ((query - first) * facts.heads + head) * grid.keysPerGroup, grid.keysPerGroup));
  }

  private async bias(facts: Block, group: number, query: number): Promise<Float32Array[] | null> {
    if (!facts.bias) return null;
    const { shape: [groups, heads, queriesPerGroup, keysPerGroup], data } = await this.array(facts.bias);
    const own = groups > 1 ? group : 0;
    return Array.from({ length: heads }, (_, head) => {
      const start = ((own * heads + head) * queriesPerGroup + query) * keysPerGroup;
      return (data as Float32Array).subarray(start, start + keysPerGroup);
    });
  }

  // How much of a token's state came from each token of the first grid, by the weights alone.
  async rollout(block: number, token: number): Promise<Map2d> {
    const { facts } = this.blocks[block];
    const stored = this.manifest.blocks.slice(0, block + 1).every(({ mean, chosen }) => mean && !chosen);
    if (stored) return rollout(this, block, token);
    const [y, x] = [Math.floor((token - facts.prefix) / facts.spatial[1]), (token - facts.prefix) % facts.spatial[1]];
    const name = `rollout/${block}/${y}/${x}`;
    if (!this.manifest.on_demand && !this.source.has(name)) throw new Missing(name);
    return this.map2d(name);
  }

  // A map of a method for a class (or for none), stored or computed on demand.
  async map(method: string, cls: number | null): Promise<Map2d> {
    const stored = this.manifest.maps.find((map) => map.method === method && (map.class === null || map.class === cls));
    if (stored) return this.map2d(stored.array);
    const name = `map/${method}/${cls ?? 0}`;
    if (!this.manifest.on_demand && !this.source.has(name)) throw new Missing(name);
    return this.map2d(name);
  }

  // A map of a method for a class at one pixel of a mask, computed on demand.
  mapAt(method: string, cls: number, [y, x]: readonly [number, number]): Promise<Map2d> { return this.map2d(`map/${method}/${cls}/${y}/${x}`); }

  async map2d(name: string): Promise<Map2d> {
    const { shape: [height, width], data } = await this.array(name);
    return { height, width, values: data instanceof Float32Array ? data : Float32Array.from(data) };
  }

  // The picture: "seen" is exactly the model's input, "shown" the same part of the photo, larger.
  image(which: "seen" | "shown"): Promise<ImageBitmap> {
    const known = this.images.get(which);
    if (known) return known;
    const name = this.manifest.photo[which];
    const bitmap = this.array(name).then(({ data }) => createImageBitmap(
      new Blob([data as Uint8Array<ArrayBuffer>], { type: this.manifest.arrays[name]?.type ?? "" })));
    this.images.set(which, bitmap);
    return bitmap;
  }
}
