// Colours of weights. Viridis (CC0, by van der Walt, Smith and Firing), ten of its colours, between
// which the page interpolates: lightness rises with the weight, for every kind of colour vision.
"use strict";

const STOPS = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37],
];

// The colour of a share between 0 and 1.
function colour(share) {
  const place = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(place));
  return STOPS[low].map((from, i) => Math.round(from + (STOPS[low + 1][i] - from) * (place - low)));
}

const css = ([r, g, b], alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;
// Black or white, whichever reads better on the colour.
const inkOn = ([r, g, b]) => (0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff");

function tile(size, paint) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  paint(canvas.getContext("2d"));
  return canvas;
}

// Masked: diagonal lines. Padding: dots.
const HATCH = tile(8, (pen) => {
  pen.fillStyle = "rgb(40 37 48 / .78)";
  pen.fillRect(0, 0, 8, 8);
  pen.strokeStyle = "rgb(255 255 255 / .8)";
  pen.lineWidth = 1.6;
  for (const shift of [-8, 0, 8]) { pen.beginPath(); pen.moveTo(shift - 1, 9); pen.lineTo(shift + 9, -1); pen.stroke(); }
});
const DOTS = tile(8, (pen) => {
  pen.fillStyle = "#77727f";
  pen.fillRect(0, 0, 8, 8);
  pen.fillStyle = "rgb(255 255 255 / .85)";
  pen.beginPath(); pen.arc(4, 4, 1.2, 0, 7); pen.fill();
});
