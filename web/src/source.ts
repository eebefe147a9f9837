// Where a trace's arrays come from: the report itself, the local server, or a notebook's kernel.
import type { ReadonlySignal } from "@preact/signals";
import type { Manifest } from "./schema";

export type Dtype = Manifest["arrays"][string]["dtype"];

// Little-endian numbers; f16 is widened to f32, "bytes" (a picture's file) stay bytes.
export interface ArrayData { dtype: Dtype; shape: number[]; data: Uint8Array | Int32Array | Float32Array }

export interface Source {
  manifest: Manifest;
  // Is the array there without a request to compute it?
  has(name: string): boolean;
  array(name: string, signal?: AbortSignal): Promise<ArrayData>;
  // Why nothing new can be had, in words; null while all is well.
  trouble?: ReadonlySignal<string | null>;
  dispose?(): void;
}

export class Missing extends Error {
  constructor(readonly array: string) {
    super(`“${array}” is not kept in this report; the server or a notebook can compute it.`);
  }
}

// IEEE half precision, without the Float16Array that only new browsers have.
export function widen(halves: Uint16Array): Float32Array {
  const wide = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i];
    const [exponent, fraction] = [(half >> 10) & 31, half & 1023];
    let value: number;
    if (exponent === 0) value = fraction * 2 ** -24;
    else if (exponent === 31) value = fraction ? NaN : Infinity;
    else value = (1 + fraction / 1024) * 2 ** (exponent - 15);
    wide[i] = half >> 15 ? -value : value;
  }
  return wide;
}

// Raw little-endian bytes as numbers; a copy where they do not lie on whole words.
export function toArray(dtype: Dtype, shape: number[], bytes: Uint8Array): ArrayData {
  const whole = bytes.byteOffset % 4 ? bytes.slice() : bytes;
  const { buffer, byteOffset: start, byteLength: length } = whole;
  const data = dtype === "i32" ? new Int32Array(buffer, start, length / 4)
    : dtype === "f32" ? new Float32Array(buffer, start, length / 4)
    : dtype === "f16" ? widen(new Uint16Array(buffer, start, length / 2))
    : whole;
  const expected = shape.reduce((product, n) => product * n, 1);
  if (data.length !== expected) throw new Error(`an array of ${data.length} numbers, not ${expected}`);
  return { dtype, shape, data };
}

// Arrays that were requested before, the oldest forgotten beyond `limit` bytes.
export class Kept {
  private readonly kept = new Map<string, { promise: Promise<ArrayData>; bytes: number }>();
  private bytes = 0;

  constructor(private readonly load: (name: string, signal?: AbortSignal) => Promise<ArrayData>, private readonly limit = 96e6) {}

  array(name: string, signal?: AbortSignal): Promise<ArrayData> {
    const known = this.kept.get(name);
    if (known) {
      this.kept.delete(name); // to the end: it was wanted last
      this.kept.set(name, known);
      return known.promise;
    }
    const entry = { promise: this.load(name, signal), bytes: 0 };
    this.kept.set(name, entry);
    entry.promise.then((array) => { entry.bytes = array.data.byteLength; this.bytes += entry.bytes; this.forget(name); },
      () => this.kept.delete(name));
    return entry.promise;
  }

  private forget(latest: string): void {
    for (const [name, { bytes }] of this.kept) {
      if (this.bytes <= this.limit) return;
      if (!bytes || name === latest) continue;
      this.kept.delete(name);
      this.bytes -= bytes;
    }
  }
}
