// What the page says: each step of the explanation, and what the chosen block does.
"use strict";

const times = ([rows, columns]) => `${rows}\u00a0×\u00a0${columns}`;
const count = (n) => n.toLocaleString("en");
const share = (p) => `${(100 * p).toFixed(p < 0.0995 ? 2 : 1)} %`;
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

const blocks = manifest.blocks;
const shifted = blocks.findIndex((block) => block.shift.some((n) => n > 0));
const total = (block) => block.spatial[0] * block.spatial[1];
const blockName = (block) => `stage ${block.stage + 1}, block ${block.block + 1}`;
const merges = manifest.merges;

function windowCount(block) {
  return block.spatial.reduce((all, n, axis) => all * Math.ceil(n / block.window[axis]), 1);
}

// Each step: a name, its words, and the view that shows it.
function storySteps() {
  const [first, last] = [blocks[0], blocks[blocks.length - 1]];
  const photo = manifest.photo;
  const overlap = manifest.model.overlap;
  const reach = overlap.some((n) => n > 0) ? ` and of the ${Math.max(...overlap)} pixel${Math.max(...overlap) > 1 ? "s" : ""} around it` : "";
  const steps = [
    { name: "Photo", mode: "photo", block: 0,
      text: `The photo is scaled and cropped to ${times(photo.input)} pixels (height × width). That is all the model sees of it; tick "show what the model sees" below the picture.` },
    { name: "Patches", mode: "patches", block: 0,
      text: `The picture is cut into patches of ${times(first.stride)} pixels. Each becomes a token: a list of numbers computed from the pixels of the patch${reach}. This makes a grid of ${times(first.spatial)} = ${plural(total(first), "token")}.` },
    { name: "Windows", mode: "attention", block: 0, at: [0.46, 0.46],
      text: `Attention lets a token fetch information from others, weighing each. All with all would be ${count(total(first) ** 2)} pairs; inside ${plural(windowCount(first), "window")} of ${times(first.window)} tokens there are only ${count(first.pairs)}. The yellow token asks; the colours say how much it takes from each token of its window.` },
  ];
  if (shifted >= 0) {
    const block = blocks[shifted];
    steps.push({ name: "Shift", mode: "attention", block: shifted, at: [0.46, 0.46],
      text: `Windows alone would never talk to each other. So every second block moves the cut by ${times(block.shift)} tokens: neighbours that a border parted in the block before now share a window. Switch between the W and the SW block above and watch the borders move.` });
    steps.push({ name: "Mask", mode: "attention", block: shifted, at: [0.999, 0.999], rolled: true,
      text: `To keep all windows the same size, the shifted picture is rolled: what leaves at the top left comes back at the bottom right. A window there is glued together from distant parts of the photo, so each part may only see itself. The hatched tokens are masked: they get no weight at all.` });
  }
  if (merges.length) {
    const [merge, next] = [merges[0], blocks.findIndex((block) => block.stage === merges[0].stage)];
    steps.push({ name: "Merge", mode: "attention", block: Math.max(0, next), at: [0.46, 0.46],
      text: `Between stages, ${times(merge.factor)} neighbours merge into one token: ${times(merge.before)} become ${times(merge.after)}. A window of as many tokens now covers more of the photo, so the view widens stage by stage${merges.length > 1 ? `: ${[merges[0].before, ...merges.map((m) => m.after)].map(times).join(" → ")}` : ""}.` });
  }
  steps.push({ name: "Answer", mode: "attention", block: blocks.length - 1, at: [0.46, 0.46],
    text: `After the last block, each of the ${plural(total(last), "token")} has gathered from ever wider surroundings. They are averaged, and one last layer turns the average into a score for every class${manifest.answer.length ? `; the highest here is “${manifest.answer[0].label}” with ${share(manifest.answer[0].probability)}` : ""}.` });
  return steps;
}

// What the chosen block does with its windows.
function blockWords(block) {
  const grid = block.grid;
  const said = [];
  if (grid.windows === 1) {
    said.push(`One window of ${times(grid.window)} covers the whole ${times(block.spatial)} grid, so every token sees every other, and there is nothing to shift.`);
  } else if (block.kind === "SW") {
    said.push(`The ${times(block.spatial)} tokens are cut into ${grid.windows} windows of ${times(grid.window)}, after a shift of ${grid.shift[0]} down and ${grid.shift[1]} to the right. Windows at the edges wrap around; their parts (dashed) do not see each other.`);
  } else {
    said.push(`The ${times(block.spatial)} tokens are cut into ${grid.windows} windows of ${times(grid.window)}. Each token sees its own window and nothing else.`);
  }
  const extra = grid.padded.map((n, axis) => n - block.spatial[axis]);
  if (extra[0] || extra[1]) {
    const edges = [extra[0] && `${plural(extra[0], "row")} at the bottom`, extra[1] && `${plural(extra[1], "column")} at the right`].filter(Boolean).join(" and ");
    said.push(`The grid is padded by ${edges} (dotted) to fit the windows; ${block.padding === "visible" ? "this model lets the padding take part in attention" : "no token sees the padding"}.`);
  }
  return said.join(" ");
}
