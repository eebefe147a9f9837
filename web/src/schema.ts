// Made from src/vitrail/explorer/schema.json by `npm run types`; do not edit.

/**
 * Everything that one forward pass showed, but for the arrays, which travel beside it by name.
 */
export interface Manifest {
  /**
   * Name and version of this form.
   */
  format: "vitrail-trace/3";
  /**
   * Of the software that made it.
   */
  versions: string;
  subject: Subject;
  photo: Photo;
  model: Model;
  /**
   * The most probable classes, best first.
   */
  answer: Answer[];
  outcome: Outcome;
  /**
   * What the model answers at the size of its weights, where the trace has another; null else, and for weights that were not trained.
   */
  at_trained_size: Trained | null;
  /**
   * Stages in order.
   */
  stages: Stage[];
  /**
   * Blocks in the order in which they ran.
   */
  blocks: Block[];
  /**
   * Kinds of map that there can be.
   */
  methods: Method[];
  /**
   * Maps that are stored.
   */
  maps: Map[];
  /**
   * Stage by stage.
   */
  reach: Reach[];
  /**
   * Scores of the maps; null where they were not computed.
   */
  faithfulness: Faithfulness | null;
  cost: Cost;
  /**
   * What was checked.
   */
  checks: Check[];
  python: Python;
  /**
   * Whether the host can make arrays that are not stored.
   */
  on_demand: boolean;
  /**
   * Parts of this manifest that are still empty: the run that fills them goes on. None in a report.
   */
  pending: ("methods" | "maps" | "reach" | "cost" | "checks" | "faithfulness")[];
  /**
   * The stored arrays by name.
   */
  arrays: {
    [k: string]: ArrayFacts;
  };
}
/**
 * What the model was shown.
 */
export interface Subject {
  /**
   * An image, along two axes.
   */
  kind: "image";
  /**
   * Names of the axes, in the order of every length and place.
   */
  axes: string[];
}
/**
 * The photo that the model was shown.
 */
export interface Photo {
  /**
   * What the photo is called; text, whatever it holds.
   */
  name: string;
  /**
   * Height and width of the photo, in pixels.
   *
   * @minItems 2
   * @maxItems 2
   */
  original: [number, number];
  /**
   * Height and width of the model's input, in pixels.
   *
   * @minItems 2
   * @maxItems 2
   */
  input: [number, number];
  /**
   * Name of an array: the picture that the model was given, as a PNG.
   */
  seen: string;
  /**
   * Name of an array: the same part of the photo with more pixels, as a JPEG.
   */
  shown: string;
}
/**
 * The model, and how the photo was made ready for it.
 */
export interface Model {
  /**
   * Its name in the catalog, or its class.
   */
  name: string;
  /**
   * Where the weights came from, in words.
   */
  weights: string;
  /**
   * Whether the weights were trained; random ones predict nothing.
   */
  trained: boolean;
  /**
   * Digest of the weights.
   */
  sha256: string;
  /**
   * Numbers that the model learns.
   */
  parameters: number;
  /**
   * Pixels per token of the first stage, along each axis.
   */
  patch: number[];
  /**
   * Pixels that a patch reaches into the one before it, along each axis.
   */
  overlap: number[];
  /**
   * Why maps made of attention alone are approximate; null if they are not.
   */
  caveat: string | null;
  /**
   * How tokens become one answer: avg, token, or empty for none.
   */
  pool: string;
  /**
   * Classes that it knows.
   */
  classes: number;
  /**
   * Their names, where they are known.
   */
  class_names: string[] | null;
  /**
   * How the photo became the input, one step each.
   */
  transform: string[];
  /**
   * Given where the model was made from another library's.
   */
  adapted: Adapted | null;
}
/**
 * The model was made from another library's model object.
 */
export interface Adapted {
  /**
   * Its class, with the library's name.
   */
  from: string;
  /**
   * Greatest difference between its own logits and ours on this very input.
   */
  difference: number;
}
/**
 * One of the most probable classes.
 */
export interface Answer {
  /**
   * Number of the class.
   */
  class: number;
  /**
   * Its name.
   */
  label: string;
  /**
   * From 0 to 1.
   */
  probability: number;
}
/**
 * What the model gives: a class, whose probabilities are the answer; or the class of every place.
 */
export interface Outcome {
  /**
   * Which of them it is.
   */
  kind: "class" | "mask";
  /**
   * Name of an array: u8 [height, width], the number of the class of each pixel of the input.
   */
  mask: string | null;
  /**
   * Name of an array: u8 [height, width], 255 times the probability of that class.
   */
  certainty: string | null;
  /**
   * Whether class 0 is what remains, which is not drawn.
   */
  background: boolean;
  /**
   * Of a mask, every class in the order of their numbers.
   */
  classes: MaskClass[];
}
/**
 * A class of a mask.
 */
export interface MaskClass {
  /**
   * Its number.
   */
  class: number;
  /**
   * Its name.
   */
  label: string;
  /**
   * Its colour, as #rrggbb.
   */
  colour: string;
  /**
   * Of the pixels, from 0 to 1.
   */
  share: number;
}
/**
 * An answer at the size of the model's weights.
 */
export interface Trained {
  /**
   * Height and width, in pixels.
   */
  size: number[];
  /**
   * The most probable classes, best first.
   */
  answer: Answer[];
}
/**
 * Blocks at one resolution.
 */
export interface Stage {
  /**
   * Lengths of its grid, in tokens.
   */
  spatial: number[];
  /**
   * Pixels per token, along each axis.
   */
  stride: number[];
  /**
   * Channels.
   */
  dim: number;
  /**
   * Places of its blocks in the list of blocks.
   */
  blocks: number[];
  /**
   * The step before its blocks; null in the first stage.
   */
  merge: Merge | null;
}
/**
 * The step that opens a stage: neighbouring tokens become one.
 */
export interface Merge {
  /**
   * Lengths of the grid that goes in, in tokens.
   */
  before: number[];
  /**
   * Lengths of the grid that comes out.
   */
  after: number[];
  /**
   * Tokens along each axis that become one.
   */
  factor: number[];
  /**
   * Tokens that it looks beyond its children, before them along each axis.
   */
  overlap: number[];
  /**
   * Name of an array: u8 [height, width, children], what each child gives to its token: 255 times its share, children row by row.
   */
  share: string | null;
}
/**
 * The attention of one block: groups, in each of which queries meet keys.
 */
export interface Block {
  /**
   * Module of the model.
   */
  name: string;
  /**
   * Which stage, from 0.
   */
  stage: number;
  /**
   * Which block of its stage, from 0.
   */
  block: number;
  /**
   * A word short enough for a button.
   */
  label: string;
  /**
   * What a token attends within, in a few words.
   */
  title: string;
  /**
   * What each token sees, in whole sentences.
   */
  text: string;
  /**
   * A drawing: an SVG path on a square of 16 by 16.
   */
  glyph: string;
  /**
   * What one group is called, where there can be several.
   */
  group: string | null;
  /**
   * Of two kinds of block that take turns, this is the second.
   */
  second: boolean;
  /**
   * Lengths of its grid, in tokens.
   */
  spatial: number[];
  /**
   * Pixels per token, along each axis.
   */
  stride: number[];
  /**
   * Tokens before those of the grid, such as a class token.
   */
  prefix: number;
  /**
   * Given where the block cuts its grid into windows.
   */
  cut: Cut | null;
  /**
   * Attention heads.
   */
  heads: number;
  /**
   * Pairs of tokens of which one may see the other.
   */
  pairs: number;
  /**
   * Groups, G below.
   */
  groups: number;
  /**
   * Places for queries in a group, padding included; Tq below.
   */
  queries_per_group: number;
  /**
   * Places for keys in a group, padding included; Tk below.
   */
  keys_per_group: number;
  /**
   * Greatest difference between the captured weights times the values and the block's own output.
   */
  error: number;
  /**
   * Name of an array: i32 [G, Tq], the token of each query, prefix tokens first; -1 is padding.
   */
  queries: string;
  /**
   * Name of an array: i32 [G, Tk], the token of each key; numbers beyond the tokens are pooled keys; -1 is padding.
   */
  keys: string;
  /**
   * Name of an array: i32 [G, Tq]; a query sees the keys of its group whose region is its own.
   */
  query_regions: string | null;
  /**
   * Name of an array: i32 [G, Tk].
   */
  key_regions: string | null;
  /**
   * Name of an array: i32 [G, Tk, 4], of pooled keys: first and past-last row, first and past-last column, in tokens; -1 for what has no place.
   */
  boxes: string | null;
  /**
   * Name of an array: u8 [G, Tq, Tk], the mean of the heads in row code; with chosen queries u8 [n, Tk].
   */
  mean: string | null;
  /**
   * Name of an array: i32 [n], the queries that are stored, each group * Tq + query; null where all are.
   */
  chosen: string | null;
  /**
   * Name of an array: u8 [G, heads, Tq, Tk] in row code, where heads are stored.
   */
  attention: string | null;
  /**
   * Name of an array: f16 [G or 1, heads, Tq, Tk], what position alone adds to the scores.
   */
  bias: string | null;
  /**
   * Name of an array: f32 [heads, 5]: attention distance in pixels, entropy in nats, weight on the token itself, on padding, and on keys across the edge.
   */
  stats: string;
  /**
   * Name of an array: u8 [height, width, 3], the features after the block in three principal components.
   */
  rgb: string;
}
/**
 * How a block cuts its grid into windows.
 */
export interface Cut {
  /**
   * Lengths of a window, in tokens.
   */
  window: number[];
  /**
   * How far the grid is rolled before it is cut, in tokens.
   */
  shift: number[];
}
/**
 * A way to draw where something comes from.
 */
export interface Method {
  /**
   * Short name, as in the names of arrays.
   */
  id: string;
  /**
   * Its name in words.
   */
  title: string;
  /**
   * What it shows and what it does not, in whole sentences.
   */
  text: string;
  /**
   * Whether its map differs by class.
   */
  per_class: boolean;
  /**
   * What it follows: routing (attention alone) or gradient.
   */
  layer: "routing" | "gradient";
}
/**
 * A stored map.
 */
export interface Map {
  /**
   * Id of the method.
   */
  method: string;
  /**
   * Number of the class, where the method asks for one.
   */
  class: number | null;
  /**
   * Which stage it looks at, where the method asks for one.
   */
  stage: number | null;
  /**
   * Name of an array: f16 [height, width].
   */
  array: string;
}
/**
 * What the middle token of a stage's grid can and does look at.
 */
export interface Reach {
  /**
   * Which stage, from 0.
   */
  stage: number;
  /**
   * Name of an array: f16 [height, width], its effective receptive field.
   */
  erf: string | null;
  /**
   * Box of the pixels that can influence it at all: y0, x0, y1, x1; the ends are past the last.
   *
   * @minItems 4
   * @maxItems 4
   */
  support: [number, number, number, number] | null;
}
/**
 * How far the maps can be trusted on this image.
 */
export interface Faithfulness {
  /**
   * Share of the pixels deleted or inserted at each point.
   */
  steps: number[];
  /**
   * Method by method.
   */
  curves: Curve[];
  random: RandomCurve;
  centre: Curve;
  /**
   * The same over many images, where such a study belongs to the model.
   */
  study: Study | null;
}
/**
 * How a map does when the pixels that it names are deleted, or put in, first.
 */
export interface Curve {
  /**
   * Id of the method.
   */
  method: string;
  /**
   * Name of an array: f32 [2, steps]: probability while deleting, and while inserting.
   */
  array: string;
  /**
   * Area under the first curve; less is better.
   */
  deletion: number;
  /**
   * Area under the second; more is better.
   */
  insertion: number;
}
/**
 * The same for random orders of pixels.
 */
export interface RandomCurve {
  /**
   * Name of an array: f32 [2, steps], mean of the random orders.
   */
  array: string;
  /**
   * Name of an array: f32 [2, steps], lower edge of the band.
   */
  low: string;
  /**
   * Name of an array: f32 [2, steps], upper edge of the band.
   */
  high: string;
  /**
   * Area under the mean while deleting.
   */
  deletion: number;
  /**
   * Area under the mean while inserting.
   */
  insertion: number;
}
/**
 * How methods did over many images.
 */
export interface Study {
  /**
   * How many.
   */
  images: number;
  /**
   * Of which data set.
   */
  dataset: string;
  /**
   * Method by method.
   */
  rows: StudyRow[];
}
/**
 * A method over many images.
 */
export interface StudyRow {
  /**
   * Id of the method.
   */
  method: string;
  /**
   * Mean area with the ends of its confidence interval.
   *
   * @minItems 3
   * @maxItems 3
   */
  deletion: [number, number, number];
  /**
   * Mean area with the ends of its confidence interval.
   *
   * @minItems 3
   * @maxItems 3
   */
  insertion: [number, number, number];
  /**
   * Whether it does better than random orders, beyond chance.
   */
  beats_random: boolean;
}
/**
 * What attention costs.
 */
export interface Cost {
  /**
   * Heights and widths of the inputs that the curves are given for, in pixels.
   */
  sizes: number[];
  /**
   * Curves; the explored model itself is the one with the id 'this'.
   */
  mechanisms: Mechanism[];
  /**
   * Points measured on this machine.
   */
  measured: Measured[];
  /**
   * The explored model with other windows; empty where it has none.
   */
  windows: WindowCost[];
  /**
   * The explored model, stage by stage.
   */
  stages: StageCost[];
}
/**
 * A model's cost at each of several sizes, without computing it.
 */
export interface Mechanism {
  /**
   * Short name.
   */
  id: string;
  /**
   * Name of the mechanism in words.
   */
  label: string;
  /**
   * Which model stands for it.
   */
  model: string;
  /**
   * Operations of a forward pass; a multiply-add is two. One for each size.
   */
  flops: number[];
  /**
   * Those of the two products of attention.
   */
  attention_flops: number[];
  /**
   * Most bytes alive in a forward pass, weights and input included.
   */
  memory: number[];
  /**
   * Pairs of tokens of which one may see the other, over all blocks.
   */
  pairs: number[];
}
/**
 * A time measured on this machine.
 */
export interface Measured {
  /**
   * Id of the mechanism.
   */
  id: string;
  /**
   * Height and width of the input, in pixels.
   */
  size: number;
  /**
   * Milliseconds of a forward pass.
   */
  ms: number;
}
/**
 * The explored model with another window.
 */
export interface WindowCost {
  /**
   * Window length, in tokens.
   */
  window: number;
  /**
   * Operations of a forward pass.
   */
  flops: number;
  /**
   * Share of the places for tokens that hold padding.
   */
  padding: number;
  /**
   * Pixels along the longer axis that can influence the middle token after the first stage.
   */
  reach: number;
}
/**
 * The explored model, stage by stage, at the size of this input.
 */
export interface StageCost {
  /**
   * Which stage, from 0.
   */
  stage: number;
  /**
   * Tokens of its grid.
   */
  tokens: number;
  /**
   * Channels.
   */
  dim: number;
  /**
   * Operations of the two products of attention.
   */
  attention: number;
  /**
   * Operations of the attention layers' other products.
   */
  projections: number;
  /**
   * Operations of the perceptrons.
   */
  mlp: number;
  /**
   * Operations of the merge before its blocks.
   */
  rest: number;
  /**
   * Pairs of tokens of which one may see the other, over its blocks.
   */
  pairs: number;
  /**
   * Most bytes alive at once while it runs, without the weights.
   */
  memory: number;
  /**
   * Pixels along each axis that can influence the middle token at its end.
   *
   * @minItems 2
   * @maxItems 2
   */
  reach: [number, number];
  /**
   * Share of the pixels that can.
   */
  seen: number;
}
/**
 * Something that was checked while the trace was made.
 */
export interface Check {
  /**
   * Short name.
   */
  id: string;
  /**
   * What was checked.
   */
  title: string;
  /**
   * What was found.
   */
  value: number | string;
  /**
   * What it may be at most, where there is a limit.
   */
  limit: number | null;
  /**
   * Whether it is within the limit; null where there is none.
   */
  passed: boolean | null;
  /**
   * What that means, in whole sentences.
   */
  text: string;
}
/**
 * Source text that makes the same in Python.
 */
export interface Python {
  /**
   * Makes the variable model.
   */
  model: string;
  /**
   * Makes the variable photo.
   */
  photo: string;
  /**
   * Height and width to explore at.
   *
   * @minItems 2
   * @maxItems 2
   */
  size: [number, number];
}
/**
 * What an array looks like; its values travel beside the manifest.
 */
export interface ArrayFacts {
  /**
   * Type of its numbers, little-endian; bytes are a file of the media type given.
   */
  dtype: "u8" | "i32" | "f16" | "f32" | "bytes";
  /**
   * Lengths of its axes.
   */
  shape: number[];
  /**
   * Digest of its bytes.
   */
  sha256: string;
  /**
   * Media type, of bytes only.
   */
  type?: string;
}
