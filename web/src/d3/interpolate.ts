// What d3-scale needs of d3-interpolate for numbers: colours, dates and transforms are not scaled here.
type Way = (t: number) => number;

export const interpolateNumber = (a: number, b: number): Way => (t) => a * (1 - t) + b * t;
export const interpolateRound = (a: number, b: number): Way => (t) => Math.round(a * (1 - t) + b * t);
export { interpolateNumber as interpolate };
