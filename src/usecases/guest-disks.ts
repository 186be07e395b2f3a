import type { SourceOptions } from "./source-options.ts";

/** `vm:NAME` becomes the guest's disks. */
export async function withDisks<T extends SourceOptions>(options: T, purpose: "read" | "write"): Promise<T> {
  if (!options.sources.some((s) => s.startsWith("vm:"))) return options;
  // Loaded only here: most sources are files.
  const { withGuests } = await import("./guest-sources.ts");
  return { ...options, ...(await withGuests(options, purpose)) };
}

/** Throws when images name other files below them than libvirt says: the guest would see other bytes than we do. */
export async function confirmChains(options: SourceOptions, named: readonly string[]): Promise<void> {
  if (options.declared === undefined) return;
  const { refuseOtherChains } = await import("./guest-sources.ts");
  refuseOtherChains(options.declared, named);
}
