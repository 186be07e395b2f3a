import { Cleanup } from "../core/cleanup.ts";
import { StorageError } from "../core/errors.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import type { OpenedSource } from "../host/open-source.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import type { StackSource } from "../stack/source.ts";
import { confirmChains, withDisks } from "./guest-disks.ts";
import { recoverFirst } from "./recover-first.ts";
import { isNbd, refuseForeignNames } from "./source-names.ts";
import { gateFor, type SourceOptions } from "./source-options.ts";
import { type OpenedStack, openSourceForReading, owning, stackOver } from "./source-stack.ts";

export interface ReadStack extends OpenedStack {
  /** Files that the images name and that were opened with them: backing and data files, extents. */
  readonly named: readonly string[];
  /** After a look: throws `locked` when something has written to a source since it was opened. */
  confirm(): void;
}

/** Opens sources for reading and the stack over them. A run that crashed on one of them is rolled back first. */
export async function openForInspection(given: SourceOptions): Promise<ReadStack> {
  const looks: OpenedSource[] = [];
  const options = { ...(await withDisks(given, "read")), looks };
  refuseForeignNames(options.sources);
  refuseTwice(options.sources);
  await recoverFirst(options);
  await using cleanup = new Cleanup();
  const sources: StackSource[] = [];
  for (const name of options.sources) sources.push(await openSourceForReading(name, options, cleanup));
  const named: string[] = [];
  const way = { writable: false, gate: gateFor(options), named };
  const inside = options.inside ?? [];
  // A snapshot is one of the image that is looked at in the end.
  const snapshotOf = (image: number) => (image === inside.length ? options.snapshot : undefined);
  let stack = await stackOver(sources, way, { ...options, snapshot: snapshotOf(0) }, cleanup);
  await confirmChains(options, named);
  for (const [i, spec] of inside.entries()) {
    const { limits = DEFAULT_LIMITS, signal, note } = options;
    const format = i + 1 === inside.length ? (options.insideFormat ?? null) : null;
    // Loaded only here: most sources are files of the host.
    const { sourceInside } = await import("./inside.ts");
    const source = await sourceInside(stack, spec, { limits, format, signal, note }, cleanup);
    stack = await stackOver([source], way, { ...options, header: undefined, snapshot: snapshotOf(i + 1) }, cleanup);
  }
  const confirm = () => {
    for (const look of looks) look.confirm();
  };
  const files = options.sources.filter((name) => !isNbd(name));
  return { stack, files, named, confirm, ...owning(cleanup) };
}

/** One disk under two names would show every volume of it twice, as a clone does. */
function refuseTwice(sources: readonly string[]): void {
  const local = sources.map((name) => (isNbd(name) ? { realpath: name } : sourceIdentity(name)));
  const again = local.findIndex((a, i) => local.findIndex((b) => b.realpath === a.realpath) !== i);
  if (again >= 0) throw new StorageError("usage", `${sources[again]} is named twice`, { layer: "file" });
}
