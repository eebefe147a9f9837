// What the page says: each step of the explanation, and what the chosen block does.
"use strict";

const times = ([rows, columns]) => `${rows}\u00a0×\u00a0${columns}`;
const count = (n) => n.toLocaleString("en");
const share = (p) => `${(100 * p).toFixed(p < 0.0995 ? 2 : 1)} %`;
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

const blocks = manifest.blocks;
const shifted = blocks.findIndex((block) => block.cut && block.cut.shift.some((n) => n > 0));
const total = (block) => block.spatial[0] * block.spatial[1];
const blockName = (block) => `stage ${block.stage + 1}, block ${block.block + 1}`;
const merges = manifest.merges;

const capital = (text) => text[0].toUpperCase() + text.slice(1);

// How attention narrows "all with all" in a block, and what to look at.
function attentionWords(block) {
  const all = (block.prefix + total(block)) ** 2;
  const said = `Attention lets a token fetch information from others, weighing each.`;
  if (block.cut) {
    const windows = block.spatial.reduce((product, n, axis) => product * Math.ceil(n / block.cut.window[axis]), 1);
    return `${said} All with all would be ${count(all)} pairs; inside ${plural(windows, "window")} of ${times(block.cut.window)} tokens there are only ${count(block.pairs)}. The yellow token asks; the colours say how much it takes from each token of its window.`;
  }
  const pairs = block.pairs === all ? `That makes ${count(all)} pairs.` : `All with all would be ${count(all)} pairs; here there are only ${count(block.pairs)}.`;
  return `${said} ${block.text} ${pairs} The yellow token asks; the colours say how much it takes from each key.`;
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
    { name: capital(first.title), mode: "attention", block: 0, at: [0.46, 0.46], text: attentionWords(first) },
  ];
  const other = blocks.findIndex((block) => !block.cut && block.title !== first.title);
  if (other >= 0) {
    steps.push({ name: capital(blocks[other].title), mode: "attention", block: other, at: [0.46, 0.46],
      text: `Not every block of this model is alike. In ${blockName(blocks[other])}: ${blocks[other].text}` });
  }
  if (shifted >= 0) {
    const block = blocks[shifted];
    steps.push({ name: "Shift", mode: "attention", block: shifted, at: [0.46, 0.46],
      text: `Windows alone would never talk to each other. So every second block moves the cut by ${times(block.cut.shift)} tokens: neighbours that a border parted in the block before now share a window. Switch between the W and the SW block above and watch the borders move.` });
    steps.push({ name: "Mask", mode: "attention", block: shifted, at: [0.999, 0.999], rolled: true,
      text: `To keep all windows the same size, the shifted picture is rolled: what leaves at the top left comes back at the bottom right. A window there is glued together from distant parts of the photo, so each part may only see itself. The hatched tokens are masked: they get no weight at all.` });
  }
  if (merges.length) {
    const [merge, next] = [merges[0], blocks.findIndex((block) => block.stage === merges[0].stage)];
    steps.push({ name: "Merge", mode: "attention", block: Math.max(0, next), at: [0.46, 0.46],
      text: `Between stages, ${times(merge.factor)} neighbours merge into one token: ${times(merge.before)} become ${times(merge.after)}. ${first.cut ? "A window of as many tokens now covers more of the photo, so the view widens stage by stage" : "Each now stands for more of the photo"}${merges.length > 1 ? `: ${[merges[0].before, ...merges.map((m) => m.after)].map(times).join(" → ")}` : ""}.` });
  }
  const best = manifest.answer.length ? `; the highest here is “${manifest.answer[0].label}” with ${share(manifest.answer[0].probability)}` : "";
  const pooled = {
    avg: "They are averaged, and one last layer turns the average into a score for every class",
    token: "The prefix token, which looks at them all, is taken alone, and one last layer turns it into a score for every class",
  }[manifest.model.pool] || "One last layer turns each into a score for every class";
  steps.push({ name: "Answer", mode: "attention", block: blocks.length - 1, at: [0.46, 0.46], prefix: manifest.model.pool === "token" && last.prefix > 0,
    text: `After the last block, each of the ${plural(total(last), "token")} has gathered from ${first.cut ? "ever wider surroundings" : "others, block after block"}. ${pooled}${best}.` });
  return steps;
}
