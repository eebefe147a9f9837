// The views in the order of their tabs. The pyramid is no tab: it is always in sight.
import { Tour } from "../tour/tour";
import type { Manifest } from "../schema";
import type { View } from "../view";
import { audit } from "./audit";
import { canvas } from "./canvas";
import { cost } from "./cost";
import { heads } from "./heads";
import { merge } from "./merge";
import { outcome } from "./outcome";
import { pyramid } from "./pyramid";
import { reach } from "./reach";

export { pyramid, Tour };
export const views: View[] = [canvas, heads, reach, merge, cost, audit];
export const viewsOf = (manifest: Manifest): View[] => [outcome, ...views].filter(({ shown }) => !shown || shown(manifest));
