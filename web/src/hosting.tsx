// Start the server's page: its panel of runs, and photos that are dropped or pasted.
import { render } from "preact";
import { Host, type Mount } from "./host";
import { Server } from "./sources/server";
import { RunPanel } from "./ui/RunPanel";

export async function startServer(root: HTMLElement, mount: Mount): Promise<void> {
  const [panel, page] = [document.createElement("div"), document.createElement("div")];
  root.classList.add("vitrail");
  root.replaceChildren(panel, page);
  const host = new Host(new Server(root.dataset.server || "/api"), page, mount);
  render(<RunPanel host={host} />, panel);
  listenForPhotos(host);
  try { await host.start(); } catch (error) { host.problem.value = error instanceof Error ? error.message : String(error); }
  document.documentElement.dataset.ready = "true";
}

// A photo may be dropped anywhere on the page, or pasted.
function listenForPhotos(host: Host): void {
  const take = (event: Event, files: FileList | undefined | null) => {
    const photo = [...files ?? []].find(({ type }) => type.startsWith("image/"));
    if (!photo) return;
    event.preventDefault();
    host.photo.value = photo;
  };
  addEventListener("dragover", (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); });
  addEventListener("drop", (event) => take(event, event.dataTransfer?.files));
  addEventListener("paste", (event) => take(event, event.clipboardData?.files));
}
