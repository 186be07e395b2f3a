/**
 * The connection to the kernel, as the server needs it: whole messages, one at a time. The real one is host/fuse-channel.ts;
 * a test can play the kernel.
 */
export interface FuseChannel {
  /**
   * The next request's length in `into`; 0 when the mount is gone. `busy`: requests are being worked on, so the
   * event loop must run while this waits.
   */
  receive(into: Uint8Array, busy: () => boolean): Promise<number>;
  /** Sends one reply. False when the kernel no longer wants it. Throws on any other failure. */
  send(message: Uint8Array): boolean;
  /** The same for one message in two parts, on another thread. Both belong to it until it resolves. */
  sendAside(message: Uint8Array, rest: Uint8Array): Promise<boolean>;
  /** Ends the connection: whoever still has the file open gets errors from then on. */
  close(): Promise<void>;
}
