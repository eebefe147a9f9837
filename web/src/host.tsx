// The server's page: choose a trace, a model, a size and a photo; see a run's progress; stop it.
import type { Source } from "./source";
import { Server } from "./sources/server";
import type { App } from "./state";

type Mount = (sources: Source[], host: App["host"], root: HTMLElement) => Promise<{ stop(): void }>;

export async function startServer(root: HTMLElement, mount: Mount): Promise<void> {
  const server = new Server(null);
  const [actions, traces] = await Promise.all([server.actions(), server.traces()]);
  if (!traces.length) return;
  const source = { ...await server.source(traces[traces.length - 1].id), server: actions };
  await mount([source], "server", root);
}
