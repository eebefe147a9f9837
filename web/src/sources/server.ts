// The local server: arrays by name over HTTP, and runs of other models, sizes and photos.
import type { Manifest } from "../schema";
import { Kept, toArray, type ArrayData, type Dtype, type Job, type RunRequest, type ServerActions, type Source,
  type TraceItem } from "../source";

export class Server {
  constructor(private readonly token: string | null, private readonly base = "") {}

  private async ask(path: string, options: RequestInit = {}): Promise<Response> {
    const headers = new Headers(options.headers);
    if (this.token) headers.set("X-Vitrail-Token", this.token);
    const answer = await fetch(`${this.base}/api/${path}`, { ...options, headers });
    if (answer.ok) return answer;
    const said = await answer.text();
    let text = said || `${answer.status} ${answer.statusText}`;
    try {
      const { given, allowed, fix } = JSON.parse(said) as Record<string, string>;
      if (fix) text = `${given}. Allowed: ${allowed}. Fix: ${fix}`;
    } catch { /* plain text */ }
    throw new Error(text);
  }

  private async json<T>(path: string, options?: RequestInit): Promise<T> {
    return await (await this.ask(path, options)).json() as T;
  }

  async source(id: string): Promise<Source> {
    const manifest = await this.json<Manifest>(`traces/${id}`);
    const kept = new Kept(async (name, signal): Promise<ArrayData> => {
      const answer = await this.ask(`traces/${id}/arrays/${name}`, { signal });
      const dtype = answer.headers.get("X-Dtype") as Dtype;
      const shape = (answer.headers.get("X-Shape") ?? "").split(",").filter(Boolean).map(Number);
      return toArray(dtype, shape, new Uint8Array(await answer.arrayBuffer()));
    });
    return {
      manifest,
      has: (name) => name in manifest.arrays,
      array: (name, signal) => kept.array(name, signal),
    };
  }

  traces(): Promise<TraceItem[]> { return this.json("traces"); }

  async actions(): Promise<ServerActions> {
    const { models } = await this.json<{ models: string[] }>("models");
    return {
      models,
      traces: () => this.traces(),
      open: (id) => this.source(id),
      run: async (request: RunRequest, photo: Blob, name: string) => {
        const words = new URLSearchParams({ ...request, name });
        return (await this.json<{ id: string }>(`run?${words}`, { method: "POST", body: photo })).id;
      },
      job: (id) => this.json<Job>(`jobs/${id}`),
      cancel: async (id) => { await this.ask(`jobs/${id}`, { method: "DELETE" }); },
    };
  }
}
