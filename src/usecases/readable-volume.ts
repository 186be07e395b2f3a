import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { Stack } from "../stack/resolver.ts";
import { findVolume } from "../stack/selectors.ts";
import type { Volume } from "../stack/tree.ts";

/** A volume whose bytes can be read. Throws `usage` for an unknown name, `key` for a locked one, `unsupported` for one that cannot be opened. */
export function readableVolume(stack: Stack, selector: string): Volume & { readonly device: BlockDevice } {
  const volume = findVolume(stack.tree, selector);
  if (volume.device === null || !volume.readable) {
    // What is refused by name is "locked" as well, but no key opens it.
    const locked = volume.kind === "locked" && volume.node.details.lockCode !== "unsupported";
    throw new StorageError(
      locked ? "key" : "unsupported",
      `${volume.selector} cannot be read: ${volume.reason ?? "it has no content"}`,
      {
        layer: volume.node.kind,
        hint: locked ? "give a key with --key-file, or run it in a terminal and type the passphrase" : undefined,
      },
    );
  }
  return { ...volume, device: volume.device };
}
