// What a view is to the shell.
import type { JSX } from "preact";
import type { App } from "./state";

export type ViewId = "pyramid" | "canvas" | "heads" | "reach" | "merge" | "cost" | "audit";

export interface View {
  id: ViewId;
  title: string;
  Component: (props: { app: App }) => JSX.Element | null;
}
