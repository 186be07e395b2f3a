import type { FuseChannel } from "./channel.ts";
import * as P from "./protocol.ts";

/** A run of the file's bytes as the device has them now. */
export interface FilePiece {
  /** A multiple of the page size. */
  readonly offset: number;
  /** Whole pages, except at the end of the file: the kernel keeps nothing else. Used until the third piece after it is asked for. */
  readonly bytes: Uint8Array;
}

/** The event loop has its turn after so long. */
const TURN_MS = 2;
/** Stores at the same time: while this thread hears of the end of one, the kernel is busy with the other. */
const IN_FLIGHT = 2;

/**
 * Puts pieces into the kernel's cache of the file (NOTIFY_STORE), so that the program finds there what it will read first.
 * Only while no program reads or writes the file, which `mayStore` says: the kernel lets a store wait for a page that a request
 * holds, and that request would wait for this server; and a store must never come behind a newer write.
 * Resolves when the pieces end, the kernel wants no more, or `mayStore` turns false. What `pieces` throws is thrown.
 */
export async function pushPieces(
  channel: FuseChannel,
  pieces: AsyncIterable<FilePiece>,
  mayStore: () => boolean,
): Promise<void> {
  const sent: Promise<boolean>[] = [];
  let turn = performance.now();
  try {
    for await (const { offset, bytes } of pieces) {
      if (performance.now() - turn > TURN_MS) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        turn = performance.now();
      }
      // The kernel copies some pieces while the next is read.
      if (sent.length === IN_FLIGHT && !(await sent.shift())) return;
      if (!mayStore()) return;
      const store = channel.sendAside(storeHeader(offset, bytes.length), bytes);
      // Told when it is waited for; until then it is no unhandled rejection.
      store.catch(() => undefined);
      sent.push(store);
    }
    await Promise.all(sent);
  } finally {
    // Nobody uses the pieces' memory again before the kernel is done with it.
    await Promise.allSettled(sent);
  }
}

function storeHeader(offset: number, size: number): Uint8Array {
  const header = new Uint8Array(P.OUT_HEADER_SIZE + P.NOTIFY_STORE_OUT_SIZE);
  P.outHeader.encode({ len: header.length + size, error: P.NOTIFY_STORE, unique: 0n }, header);
  P.notifyStoreOut.encode({ nodeid: P.ROOT_ID, offset: BigInt(offset), size }, header.subarray(P.OUT_HEADER_SIZE));
  return header;
}
