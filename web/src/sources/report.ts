// A report carries everything: the manifests as JSON, arrays as gzip in base64, inflated when wanted.
import type { Manifest } from "../schema";
import { Kept, Missing, toArray, type ArrayData, type Source } from "../source";

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const native = Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> };
  if (native.fromBase64) return native.fromBase64(text); // since 2025, and much quicker
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function inflate(packed: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export function reportSources(page: Document): Source[] {
  const manifests: Manifest[] = [];
  for (let i = 0; ; i++) {
    const element = page.getElementById(`manifest:${i}`);
    if (!element) break;
    manifests.push(JSON.parse(element.textContent ?? "") as Manifest);
  }
  // Equal arrays are written once, under the first name that they had.
  const places = new Map<string, Element>();
  const key = (manifest: Manifest, name: string) => {
    const { dtype, shape, sha256 } = manifest.arrays[name];
    return `${dtype} ${shape.join()} ${sha256}`;
  };
  manifests.forEach((manifest, i) => Object.keys(manifest.arrays).forEach((name) => {
    const element = page.getElementById(`array:${i}/${name}`);
    if (element) places.set(key(manifest, name), element);
  }));
  return manifests.map((manifest) => {
    const kept = new Kept(async (name): Promise<ArrayData> => {
      const facts = manifest.arrays[name];
      const element = facts && places.get(key(manifest, name));
      if (!element) throw new Missing(name);
      return toArray(facts.dtype, facts.shape, await inflate(fromBase64(element.textContent ?? "")));
    });
    return { manifest, has: (name) => name in manifest.arrays, array: (name) => kept.array(name) };
  });
}
