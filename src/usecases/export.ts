import { once } from "node:events";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { Run } from "../host/run.ts";
import { widenSocket } from "../host/socket-size.ts";
import { serveNbd } from "../nbd/server.ts";
import { openForInspection } from "./open-for-reading.ts";
import { openForWriting } from "./open-for-writing.ts";
import { readableVolume } from "./readable-volume.ts";
import type { SourceOptions } from "./source-options.ts";
import { serveVisibleFile } from "./visible-file.ts";

export interface ExportOptions extends SourceOptions {
  readonly volume: string;
  /** Exactly one of both. */
  readonly nbd?: string | undefined;
  readonly fuse?: string | undefined;
  readonly write: boolean;
  /** The export is there now. */
  readonly onReady: (size: number) => void;
}

export interface ExportResult {
  /** The run that undoes what was written; null when nothing was. */
  readonly run: string | null;
}

/**
 * Hands a volume to other programs until `signal` fires. With `write`, each flush of theirs is committed: a crash rolls back to the last
 * one they were told of, `undo` to before the export.
 */
export async function exportVolume(options: ExportOptions): Promise<ExportResult> {
  if ((options.nbd === undefined) === (options.fuse === undefined)) {
    throw new StorageError("usage", "say how: --nbd SOCKET or --fuse FILE", {
      hint: "for example: --nbd /tmp/volume.sock, for qemu-img, nbdkit or guestfish",
    });
  }
  if (!options.write) {
    await using opened = await openForInspection(options);
    await serve(readableVolume(opened.stack, options.volume).device, options, async () => {});
    return { run: null };
  }
  await using opened = await openForWriting(options, "export");
  const { run, stack } = opened;
  const { device, selector } = readableVolume(stack, options.volume);
  const commits = new Commits(run);
  await serve(device, options, () => commits.commit());
  // What was written without a flush belongs to the user as well.
  await device.flush();
  await commits.commit();
  if (commits.changed) run.note({ volumes: [{ selector, via: options.nbd !== undefined ? "nbd" : "fuse" }] });
  return { run: commits.changed ? run.id : null };
}

/** Commits one after another: flushes of several clients may meet. */
class Commits {
  changed = false;
  readonly #run: Run;
  #tail: Promise<void> = Promise.resolve();

  constructor(run: Run) {
    this.#run = run;
  }

  commit(): Promise<void> {
    const next = this.#tail.then(async () => {
      const { changed } = await this.#run.commit();
      this.changed ||= changed;
    });
    this.#tail = next.catch(() => undefined);
    return next;
  }
}

async function serve(device: BlockDevice, options: ExportOptions, onFlush: () => Promise<void>): Promise<void> {
  const { nbd, fuse, write, signal, onReady } = options;
  const ended: Promise<unknown>[] = [];
  if (signal) ended.push(signal.aborted ? Promise.resolve() : once(signal, "abort"));
  if (nbd !== undefined) {
    await using server = await serveNbd({
      device,
      socketPath: nbd,
      readOnly: !write,
      onFlush,
      onConnection: widenSocket,
    });
    onReady(device.size);
    await Promise.race([...ended, server.closed]);
    return;
  }
  await using file = await serveVisibleFile({ device, path: fuse!, readOnly: !write, onFlush });
  onReady(device.size);
  await Promise.race([...ended, file.closed]);
}
