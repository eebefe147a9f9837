// What stands in the place of a part that the run has not come to yet.
import type { JSX } from "preact";
import type { Manifest } from "../schema";

export const isPending = ({ pending }: Manifest, part: Manifest["pending"][number]): boolean => pending.includes(part);

export function Pending({ what }: { what: string }): JSX.Element {
  return <p class="note part" data-pending>{what} not there yet: the run that computes this has not finished. Once it has, it appears here by itself.</p>;
}
