// The local server: arrays by name over HTTP, and runs of other models, sizes and photos. The first
// visit set a cookie that the browser sends by itself.
import type { Manifest } from "../schema";
import { Kept, toArray, type ArrayData, type Dtype, type Source } from "../source";

export interface TraceItem { id: string; name: string; model: string; weights: string; size: [number, number] }
export interface Problem { given: string; allowed: string; fix: string }
export interface Job {
  id: string;
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  ahead: number; // jobs that come first
  progress: { step: "model" | "photo" | "forward" | "figures"; stage: number; stages: number; block: number; blocks: number; share: number };
  trace: string | null; // once it can be drawn
  revision: number; // grows when more of the trace is there
  error: Problem | null;
  name: string;
  model: string;
}
export interface Catalog {
  models: { name: string; weights: string[] }[]; // the first is the default
  limits: { size: number; upload: number; queue: number };
}
// What to run; what is left out is the server's choice. `photo` is the number of a trace whose photo is meant again.
export interface Run { model?: string; weights?: string; size?: string; name?: string; photo?: string }

export const inWords = ({ given, allowed, fix }: Problem) => `${given}. Allowed: ${allowed}. Fix: ${fix}.`;

export class Server {
  constructor(private readonly base: string) {}

  private async request(path: string, options: RequestInit = {}): Promise<Response> {
    let answer: Response;
    try {
      answer = await fetch(`${this.base}/${path}`, options);
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new Error("The server does not answer. Was it stopped? Start it again with vitrail explore --serve.");
    }
    if (answer.ok) return answer;
    if (answer.status === 403) throw new Error("The server was started anew: open the link that vitrail explore --serve printed.");
    const said = await answer.text();
    let problem: Partial<Problem> = {};
    try { problem = JSON.parse(said) as Partial<Problem>; } catch { /* plain text */ }
    throw new Error(problem.fix ? inWords(problem as Problem) : said || `${answer.status} ${answer.statusText}`);
  }

  private async json<T>(path: string, options?: RequestInit): Promise<T> {
    return await (await this.request(path, options)).json() as T;
  }

  traces(): Promise<TraceItem[]> { return this.json("traces"); }
  catalog(): Promise<Catalog> { return this.json("models"); }
  jobs(): Promise<Job[]> { return this.json("jobs"); }
  job(id: string): Promise<Job> { return this.json(`jobs/${id}`); }
  cancel(id: string): Promise<Job> { return this.json(`jobs/${id}`, { method: "DELETE" }); }
  run(wish: Run, photo: Blob | null): Promise<Job> {
    const words = Object.entries(wish).filter(([, value]) => value) as [string, string][];
    return this.json(`run?${new URLSearchParams(words)}`, { method: "POST", body: photo });
  }

  manifest(id: string): Promise<Manifest> { return this.json(`traces/${id}`); }

  async source(id: string): Promise<Source> {
    const manifest = await this.manifest(id);
    const kept = new Kept(async (name, signal): Promise<ArrayData> => {
      const answer = await this.request(`traces/${id}/arrays/${name}`, { signal });
      const shape = (answer.headers.get("X-Shape") ?? "").split(",").filter(Boolean).map(Number);
      return toArray(answer.headers.get("X-Dtype") as Dtype, shape, new Uint8Array(await answer.arrayBuffer()));
    });
    return { manifest, has: (name) => name in manifest.arrays, array: (name, signal) => kept.array(name, signal) };
  }
}
