// What the report carries: a manifest (JSON) and arrays (gzip, base64), unpacked when first needed.
"use strict";

const byId = (id) => document.getElementById(id);
const manifest = JSON.parse(byId("manifest").textContent);
const unpacked = new Map();

// Resolve to the numbers of an array; each is unpacked once.
function load(name) {
  if (!unpacked.has(name)) unpacked.set(name, unpack(name));
  return unpacked.get(name);
}

async function unpack(name) {
  const stream = new Blob([fromBase64(byId(`array:${name}`).textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  return manifest.arrays[name].dtype === "u8" ? new Uint8Array(buffer) : new Int32Array(buffer);
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text); // since 2025, and much quicker
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// Decode one row of weights: the codes are square roots, and a row sums to one.
function decodeRow(codes, start, length) {
  const row = new Float64Array(length);
  let sum = 0;
  for (let i = 0; i < length; i++) sum += row[i] = codes[start + i] ** 2;
  if (sum > 0) for (let i = 0; i < length; i++) row[i] /= sum;
  return row;
}

// All that the page needs to know about one block, with its arrays unpacked.
async function loadBlock(index) {
  const block = manifest.blocks[index];
  const names = [block.queries, block.keys, block.query_regions, block.key_regions, block.boxes, block.mean, block.attention];
  const [queries, keys, queryRegions, keyRegions, boxes, mean, heads] = await Promise.all(names.map((name) => name && load(name)));
  return { ...block, index, grid: new Grid(block, { queries, keys, queryRegions, keyRegions, boxes }), mean, each: heads };
}

// The weights of the query in `slot`, over the keys of its group; head -1 is the mean of all heads.
function weights(block, slot, head) {
  const { asking, answering } = block.grid;
  if (head < 0) return decodeRow(block.mean, slot * answering, answering);
  const [group, query] = [Math.floor(slot / asking), slot % asking];
  return decodeRow(block.each, ((group * block.heads + head) * asking + query) * answering, answering);
}
