// What the picture of the canvas view remembers, for its pointer, its controls and its lists of keys.
import { signal, type Signal } from "@preact/signals";
import { WHOLE, type Fit, type Zoom } from "../camera";

export interface Look {
  hover: Signal<number>; // the token under the pointer, or -1
  key: Signal<number>; // the key under the pointer while a token is kept, or -1
  kept: Signal<boolean>; // the token stays chosen while the pointer reads its keys
  zoom: Signal<Zoom>;
  fit: Signal<Fit | null>;
  strength: Signal<number>;
  pixels: Signal<boolean>; // show exactly what the model sees
  spoke: Signal<boolean>; // the choice is the reader's, and worth saying
}

export const newLook = (): Look => ({
  hover: signal(-1), key: signal(-1), kept: signal(false), zoom: signal(WHOLE), fit: signal<Fit | null>(null),
  strength: signal(0.72), pixels: signal(false), spoke: signal(false),
});
