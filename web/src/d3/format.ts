// In place of d3-format: charts write their ticks in words of their own (src/words.ts), so nobody asks a scale to.
function unused(): never { throw new Error("a scale was asked to write its ticks: axes have a `format` for that"); }

export { unused as format, unused as formatPrefix, unused as formatSpecifier, unused as precisionFixed,
  unused as precisionPrefix, unused as precisionRound };
