// The views in the order of their tabs. The pyramid is no tab: it is always in sight.
import type { View } from "../view";

export const pyramid = null as View | null;
export const Tour = null as View["Component"] | null;
export const views: View[] = [];
