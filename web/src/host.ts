// The server's page: which traces are shown, and the runs that make new ones.
import { signal } from "@preact/signals";
import type { Manifest } from "./schema";
import type { Source } from "./source";
import { inWords, type Server, type Catalog, type Job, type Run, type TraceItem } from "./sources/server";
import type { App } from "./state";

export interface Mounting { sources: Source[]; host: App["host"]; root: HTMLElement; place?: Record<string, string> }
interface Page { stop(): void; update(side: number, manifest: Manifest): void }
export type Mount = (wish: Mounting) => Promise<Page>;

export class Host {
  readonly catalog = signal<Catalog | null>(null);
  readonly traces = signal<TraceItem[]>([]);
  readonly shown = signal<string[]>([]); // one trace, or two to compare
  readonly job = signal<Job | null>(null);
  readonly problem = signal<string | null>(null);
  readonly photo = signal<File | null>(null);
  private mounted: Page | null = null;

  constructor(readonly server: Server, private readonly page: HTMLElement, private readonly mount: Mount) {}

  async start(): Promise<void> {
    this.catalog.value = await this.server.catalog();
    // Requested before the traces: a run that ends in between has its trace looked at again.
    const [waiting] = await this.server.jobs();
    this.traces.value = await this.server.traces();
    const linked = new URLSearchParams(location.hash.slice(1));
    const known = (name: string) => this.traces.value.find(({ id }) => id === linked.get(name))?.id;
    const first = known("trace") ?? this.traces.value[0]?.id;
    const against = known("against");
    if (first) await this.show(against ? [first, against] : [first]);
    if (waiting) void this.follow(waiting);
  }

  // Draw the page anew from one trace or two; block and token stay, for they are in the address.
  async show(ids: string[]): Promise<void> {
    try {
      const sources = await Promise.all(ids.map((id) => this.server.source(id)));
      this.mounted?.stop();
      this.shown.value = ids;
      const place = { trace: ids[0], ...(ids[1] ? { against: ids[1] } : {}) };
      this.mounted = await this.mount({ sources, host: "server", root: this.page, place });
      this.problem.value = null;
    } catch (error) { this.fail(error); }
  }

  async run(wish: Run): Promise<void> {
    const photo = this.photo.value;
    const again = photo ? {} : { photo: this.shown.value[0] };
    this.problem.value = null;
    try {
      await this.follow(await this.server.run({ ...wish, ...again, name: photo?.name }, photo));
    } catch (error) { this.fail(error); }
  }

  async cancel(): Promise<void> {
    if (!this.job.value) return;
    try { this.job.value = await this.server.cancel(this.job.value.id); } catch (error) { this.fail(error); }
  }

  private async follow(job: Job): Promise<void> {
    this.job.value = job;
    try {
      // What a page that was just opened shows may be older than the job's first answer.
      let revision = 0;
      while (job.state === "queued" || job.state === "running") {
        await new Promise((done) => setTimeout(done, 300));
        job = await this.server.job(job.id);
        this.job.value = job;
        if (job.trace && job.revision > revision) await this.advance(job.trace, revision === 0);
        revision = job.revision;
      }
      this.job.value = null;
      if (job.error) this.problem.value = inWords(job.error);
    } catch (error) { this.fail(error); }
  }

  // Show a trace as soon as it can be drawn; later, put what has come since into the page as it stands.
  private async advance(id: string, first: boolean): Promise<void> {
    if (first) {
      this.traces.value = await this.server.traces();
      this.photo.value = null;
      if (this.shown.value[0] !== id) { await this.show([id, ...this.shown.value.slice(1)]); return; }
    }
    const manifest = await this.server.manifest(id);
    this.shown.value.forEach((shown, side) => { if (shown === id) this.mounted?.update(side, manifest); });
  }

  private fail(error: unknown): void {
    this.job.value = null;
    this.problem.value = error instanceof Error ? error.message : String(error);
  }
}
