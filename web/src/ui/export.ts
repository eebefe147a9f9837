// Figures as files: PNG, SVG and NPY, made in the page.
import type { App } from "../state";

export interface Numbers { shape: number[]; data: Uint8Array | Int32Array | Float32Array }

export function download(app: App, blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.hidden = true;
  app.root.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// NumPy's file format, version 1.0.
export function npy({ shape, data }: Numbers): Blob {
  const kind = data instanceof Float32Array ? "<f4" : data instanceof Int32Array ? "<i4" : "|u1";
  const head = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }`;
  const padded = head + " ".repeat(63 - ((10 + head.length) % 64)) + "\n";
  const bytes = new Uint8Array(10 + padded.length);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, padded.length & 255, padded.length >> 8]);
  for (let i = 0; i < padded.length; i++) bytes[10 + i] = padded.charCodeAt(i);
  return new Blob([bytes, data as Uint8Array<ArrayBuffer>], { type: "application/octet-stream" });
}

const DRAWN = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "stroke-opacity",
  "opacity", "font-family", "font-size", "font-weight", "text-anchor", "dominant-baseline", "visibility", "display"];

// A copy of an SVG that needs no style sheet: what it computes becomes attributes.
function flat(svg: SVGSVGElement): SVGSVGElement {
  const copy = svg.cloneNode(true) as SVGSVGElement;
  const [from, to] = [[svg, ...svg.querySelectorAll<SVGElement>("*")], [copy, ...copy.querySelectorAll<SVGElement>("*")]];
  from.forEach((element, i) => {
    const style = getComputedStyle(element);
    for (const name of DRAWN) { const value = style.getPropertyValue(name); if (value) to[i].setAttribute(name, value); }
    to[i].removeAttribute("style");
    to[i].removeAttribute("class");
  });
  return copy;
}

const SVG = "http://www.w3.org/2000/svg";

type Values = Record<string, string | number>;
const set = (element: Element, values: Values) =>
  Object.entries(values).forEach(([name, value]) => element.setAttribute(name, String(value)));

function shape(tag: string, values: Values, text?: string): Element {
  const element = document.createElementNS(SVG, tag);
  set(element, values);
  if (text !== undefined) element.textContent = text;
  return element;
}

// What stands around the pictures: grounds as rectangles, and every line of text where it stands.
function written(body: HTMLElement, frame: DOMRect): Element[] {
  const found: Element[] = [];
  const kinds = NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT;
  const walk = document.createTreeWalker(body, kinds, (node) => (node instanceof Element
    && (node.matches("canvas, svg, .away, [hidden]") || !node.getClientRects().length) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT));
  while (walk.nextNode()) {
    const node = walk.currentNode;
    if (node instanceof Element) {
      const { backgroundColor: fill, borderTopLeftRadius: round } = getComputedStyle(node);
      const { x, y, width, height } = node.getBoundingClientRect();
      if (fill !== "rgba(0, 0, 0, 0)") found.push(shape("rect", { x: x - frame.x, y: y - frame.y, width, height, fill, rx: parseFloat(round) || 0 }));
    } else found.push(...lines(node as Text, frame));
  }
  return found;
}

function lines(node: Text, frame: DOMRect): Element[] {
  const style = getComputedStyle(node.parentElement as Element);
  const rows: { box: DOMRect; text: string }[] = [];
  for (const { 0: word, index } of node.data.matchAll(/\S+\s*/g)) {
    const range = document.createRange();
    range.setStart(node, index);
    range.setEnd(node, index + word.trimEnd().length);
    const box = range.getBoundingClientRect();
    const last = rows[rows.length - 1];
    if (last && Math.abs(last.box.y - box.y) < 2) last.text += word;
    else if (box.width) rows.push({ box, text: word });
  }
  return rows.map(({ box, text }) => shape("text", {
    x: box.x - frame.x, y: box.y - frame.y + box.height / 2, fill: style.color, "dominant-baseline": "central",
    "font-family": style.fontFamily, "font-size": style.fontSize, "font-weight": style.fontWeight,
  }, text.trimEnd()));
}

// All of an element, at its place, in one SVG: canvases, drawings and text.
export function vectorText(body: HTMLElement, title: string): { text: string; width: number; height: number } {
  const frame = body.getBoundingClientRect();
  const [width, height] = [Math.ceil(frame.width), Math.ceil(frame.height)];
  const page = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
  page.append(shape("title", {}, title), ...written(body, frame));
  for (const part of body.querySelectorAll<HTMLCanvasElement | SVGSVGElement>("canvas, svg")) {
    if (part.parentElement?.closest("svg")) continue;
    const box = part.getBoundingClientRect();
    const place = { x: box.x - frame.x, y: box.y - frame.y, width: box.width, height: box.height };
    if (!box.width || !box.height) continue;
    if (part instanceof HTMLCanvasElement) {
      const image = shape("image", { ...place, href: part.toDataURL(), preserveAspectRatio: "none" });
      if (getComputedStyle(part).imageRendering === "pixelated") image.setAttribute("image-rendering", "optimizeSpeed");
      page.append(image);
    } else {
      const drawing = flat(part);
      set(drawing, place);
      page.append(drawing);
    }
  }
  return { text: new XMLSerializer().serializeToString(page), width, height };
}

export function vectorOf(body: HTMLElement, title: string): Blob {
  return new Blob([vectorText(body, title).text], { type: "image/svg+xml" });
}

// The same as pixels, twice as many a side as on the page, on the page's own ground.
export async function pictureOf(body: HTMLElement): Promise<Blob> {
  const { text, width, height } = vectorText(body, "");
  const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [2 * width, 2 * height];
    const context = canvas.getContext("2d") as CanvasRenderingContext2D;
    const ground = getComputedStyle(body.closest(".card") ?? body).backgroundColor;
    if (ground !== "rgba(0, 0, 0, 0)") { context.fillStyle = ground; context.fillRect(0, 0, canvas.width, canvas.height); }
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((done, fail) => canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("no picture"))), "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}
