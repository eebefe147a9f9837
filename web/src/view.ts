// What a view is to the shell.
import type { JSX } from "preact";
import type { Manifest } from "./schema";
import type { App } from "./state";

export type ViewId = "pyramid" | "outcome" | "canvas" | "heads" | "reach" | "merge" | "cost" | "audit";

export interface View {
  id: ViewId;
  title: string;
  shown?: (manifest: Manifest) => boolean; // whether a trace has something for it; by default it has
  Component: (props: { app: App }) => JSX.Element | null;
}
