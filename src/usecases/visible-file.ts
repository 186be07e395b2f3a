import type { BlockDevice } from "../core/device.ts";
import { fileMode } from "../fuse/operations.ts";
import { serveFuse } from "../fuse/server.ts";
import { fuseChannel } from "../host/fuse-channel.ts";
import { mountVisibly } from "../host/visible-mount.ts";

export interface VisibleFileOptions {
  readonly device: BlockDevice;
  readonly path: string;
  readonly readOnly: boolean;
  /** After each flush of a program's, when the device's own flush is done. */
  readonly onFlush: () => Promise<void>;
}

/** Shows `device` as the file `path` until disposal or an unmount from outside (`closed`). The device is not disposed of. */
export async function serveVisibleFile(
  options: VisibleFileOptions,
): Promise<{ readonly closed: Promise<void> } & AsyncDisposable> {
  const { device, path, readOnly, onFlush } = options;
  const mount = await mountVisibly(path, fileMode(readOnly), readOnly);
  const committing: BlockDevice = {
    size: device.size,
    caps: device.caps,
    read: (into, offset, io) => device.read(into, offset, io),
    write: (from, offset, io) => device.write(from, offset, io),
    zero: (offset, length, io) => device.zero(offset, length, io),
    discard: (offset, length) => device.discard(offset, length),
    extents: (offset, length, io) => device.extents(offset, length, io),
    async flush() {
      await device.flush();
      await onFlush();
    },
    async [Symbol.asyncDispose]() {},
  };
  const server = serveFuse({ channel: fuseChannel(mount.fuseFd), device: committing, readOnly });
  const closed = server.done.then(({ firstError }) => {
    if (firstError) throw firstError;
  });
  closed.catch(() => undefined);
  return {
    closed,
    async [Symbol.asyncDispose]() {
      mount.unmount();
      await closed;
    },
  };
}
