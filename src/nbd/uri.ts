import { StorageError } from "../core/errors.ts";

export interface NbdAddress {
  readonly socketPath: string;
  readonly exportName: string;
}

const HINT = "write nbd+unix:///EXPORT?socket=/path/to/socket";

/**
 * Takes an NBD URI apart (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md). Only Unix sockets without TLS are
 * spoken to: `nbd+unix:///export?socket=/path`; an empty export name is the server's default one.
 */
export function parseNbdUri(uri: string): NbdAddress {
  const parts = /^([a-z+]+):\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?(?:#.*)?$/i.exec(uri);
  if (!parts) throw usage(`${uri} is not an NBD URI`);
  const [, scheme, authority, path, query] = parts;
  if (scheme!.toLowerCase() !== "nbd+unix") throw usage(`${uri}: of the NBD schemes only nbd+unix is supported`);
  if (authority !== "") throw usage(`${uri} names a host, which nbd+unix does not have`);
  const sockets = (query ?? "").split("&").filter((part) => part.startsWith("socket="));
  if (sockets.length !== 1) throw usage(`${uri} must say socket=PATH once`);
  const socketPath = decode(sockets[0]!.slice("socket=".length), uri);
  if (socketPath === "") throw usage(`${uri} has an empty socket path`);
  return { socketPath, exportName: decode((path ?? "/").slice(1), uri) };
}

function decode(text: string, uri: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    throw usage(`${uri} has a malformed %-escape`);
  }
  if (decoded.includes("\0")) throw usage(`${uri} has a NUL byte`);
  return decoded;
}

function usage(message: string): StorageError {
  return new StorageError("usage", message, { layer: "nbd", hint: HINT });
}
