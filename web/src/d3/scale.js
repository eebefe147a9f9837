// Of d3-scale the scales that are used; its index would draw in dates and colours.
export { default as scaleLinear } from "../../node_modules/d3-scale/src/linear.js";
export { default as scaleLog } from "../../node_modules/d3-scale/src/log.js";
