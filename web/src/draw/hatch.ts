// Patterns for what has no number: masked keys are hatched, padding is dotted.

function tile(size: number, paint: (pen: CanvasRenderingContext2D) => void): () => HTMLCanvasElement {
  let made: HTMLCanvasElement | null = null;
  return () => {
    if (made) return made;
    made = document.createElement("canvas");
    made.width = made.height = size;
    paint(made.getContext("2d") as CanvasRenderingContext2D);
    return made;
  };
}

export const HATCH = tile(8, (pen) => {
  pen.fillStyle = "rgb(40 37 48 / .78)";
  pen.fillRect(0, 0, 8, 8);
  pen.strokeStyle = "rgb(255 255 255 / .8)";
  pen.lineWidth = 1.6;
  for (const shift of [-8, 0, 8]) { pen.beginPath(); pen.moveTo(shift - 1, 9); pen.lineTo(shift + 9, -1); pen.stroke(); }
});
export const DOTS = tile(8, (pen) => {
  pen.fillStyle = "#77727f";
  pen.fillRect(0, 0, 8, 8);
  pen.fillStyle = "rgb(255 255 255 / .85)";
  pen.beginPath();
  pen.arc(4, 4, 1.2, 0, 7);
  pen.fill();
});

export function fillWith(pen: CanvasRenderingContext2D, tile: HTMLCanvasElement, x: number, y: number, w: number, h: number): void {
  pen.fillStyle = pen.createPattern(tile, "repeat") as CanvasPattern;
  pen.fillRect(x, y, w, h);
}
