import type { BlockDevice } from "./device.ts";
import type { Finding, Json } from "./finding.ts";
import type { ImageFormat, Layer, OpenContext } from "./layer.ts";

/** An image of a format that is only read here. */
export interface ReadOnlyImage {
  readonly format: ImageFormat;
  readonly details: { readonly [key: string]: Json | undefined };
  readonly findings?: readonly Finding[] | undefined;
  /** Bytes of the disk in it. */
  readonly size: number;
  readonly context: OpenContext;
  /** Opens the disk; called once for each user of it. */
  open(): Promise<BlockDevice>;
  /** Closes what the image itself opened. */
  dispose?: (() => Promise<void>) | undefined;
}

/** The layer over such an image: one child without a node of its own. Asked to write, it shows the image and refuses its content by name. */
export function readOnlyImage(image: ReadOnlyImage): Layer {
  const { format, details, findings = [], size, context } = image;
  const refused = `${format} images are only read; convert it first: qemu-img convert -O qcow2 IMAGE NEW`;
  return {
    info: { kind: format, details: { virtualSize: size, ...details }, findings },
    locked: null,
    children: [
      {
        name: format,
        info: null,
        offset: null,
        size,
        unavailable: context.writable ? refused : null,
        hasContent: true,
        open: () => image.open(),
      },
    ],
    async [Symbol.asyncDispose]() {
      await image.dispose?.();
    },
  };
}

/** The layer over an image of which only the header can be shown. `feature` is what is not supported, as the format's specification names it. */
export function refusedImage(
  format: ImageFormat,
  details: { readonly [key: string]: Json | undefined },
  feature: string,
): Layer {
  return {
    info: { kind: format, details, findings: [] },
    locked: { code: "unsupported", reason: `not supported: ${feature}` },
    children: [],
    async [Symbol.asyncDispose]() {},
  };
}
