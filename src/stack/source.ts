import type { BlockDevice } from "../core/device.ts";
import type { Json } from "../core/finding.ts";
import type { ImageFormat } from "../core/layer.ts";

/** Where a stack starts: an opened bottom device and what is known about it. */
export interface StackSource {
  /** As the user named it; shown. */
  readonly name: string;
  readonly kind: "file" | "blockdev" | "nbd";
  /** The image's path, from which relative references inside it are resolved. Null for NBD. */
  readonly path: string | null;
  readonly device: BlockDevice;
  /** Null: detect, which is done for plain files only. */
  readonly format: "raw" | ImageFormat | null;
  readonly details: { readonly [key: string]: Json | undefined };
}
