import { existsSync } from "node:fs";
import { StorageError } from "../core/errors.ts";

/** A source that is an NBD export on a unix socket. */
export function isNbd(source: string): boolean {
  return source.startsWith("nbd+unix:");
}

/** Throws `unsupported` for sources that are named as other programs name theirs: URLs of protocols that are not spoken. */
export function refuseForeignNames(sources: readonly string[]): void {
  for (const source of sources) {
    const refusal = urlRefusal(source);
    if (refusal !== null) throw refusal;
  }
}

/** `scheme://…`, and QEMU's own `nbd:host:port`, `nbd:unix:path` and `json:{…}`. */
const URL = /^([a-z][a-z0-9+.-]*):\/\/|^(nbd):|^(json):\s*\{/i;

function urlRefusal(source: string): StorageError | null {
  const match = isNbd(source) || existsSync(source) ? null : URL.exec(source);
  const scheme = match?.slice(1).find((s) => s !== undefined);
  if (scheme === undefined) return null;
  const no = (message: string, hint: string) =>
    new StorageError("unsupported", `${source}: ${message}`, { layer: "source", feature: `${scheme}:`, hint });
  switch (scheme.toLowerCase()) {
    case "file":
      return no("a file is named by its path", "leave file:// out");
    case "json":
      return no("QEMU's json: names are not taken for sources", "name the image file or block device itself");
    case "nbd":
    case "nbds":
    case "nbds+unix":
      return no(
        "NBD is spoken on unix sockets only: over a network anybody in between could read and change the disk",
        "have the socket forwarded: ssh -N -L /tmp/disk.sock:localhost:10809 HOST, then name nbd+unix:///EXPORT?socket=/tmp/disk.sock",
      );
    default:
      return no(
        `sources are files, block devices and NBD on a unix socket; ${scheme} is not spoken`,
        `let QEMU fetch it: qemu-nbd -r -t -k /tmp/disk.sock '${source}', then name nbd+unix:///?socket=/tmp/disk.sock`,
      );
  }
}
