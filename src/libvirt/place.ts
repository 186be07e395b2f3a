import type { Element } from "@xmldom/xmldom";
import { printable } from "../bytes/text.ts";
import { attributeOf, childOf } from "./xml.ts";

/** Where the bytes of a disk are (libvirt, "Domain XML format", hard drives, `source`). */
export type DiskPlace =
  | { readonly kind: "file" | "block"; readonly path: string }
  /** An NBD export; `socket` null: over a network, at `host`. */
  | { readonly kind: "nbd"; readonly name: string; readonly socket: string | null; readonly host: string | null }
  /** A volume of a storage pool: libvirt says which path it has. */
  | { readonly kind: "volume"; readonly pool: string; readonly volume: string }
  /** A drive without a medium. */
  | { readonly kind: "empty" }
  /** Not spoken here, or not known; `what` names it for a person. */
  | { readonly kind: "other"; readonly what: string };

/** `type` is the attribute of `<disk>` or `<backingStore>`, `source` their child. */
export function placeOf(type: string, source: Element | null): DiskPlace {
  switch (type) {
    case "file":
      return local("file", attributeOf(source, "file"));
    case "block":
      return local("block", attributeOf(source, "dev"));
    case "network":
      return networkPlace(source);
    case "volume": {
      const pool = attributeOf(source, "pool");
      const volume = attributeOf(source, "volume");
      return pool === null || volume === null ? { kind: "empty" } : { kind: "volume", pool, volume };
    }
    default:
      return { kind: "other", what: `a disk of type ${printable(type)}` };
  }
}

function local(kind: "file" | "block", path: string | null): DiskPlace {
  return path === null || path === "" ? { kind: "empty" } : { kind, path };
}

function networkPlace(source: Element | null): DiskPlace {
  const protocol = attributeOf(source, "protocol") ?? "?";
  if (protocol !== "nbd") return { kind: "other", what: `a network disk (${printable(protocol)})` };
  if (attributeOf(source, "tls") === "yes") return { kind: "other", what: "a network disk (NBD with TLS)" };
  const host = childOf(source, "host");
  const name = attributeOf(source, "name") ?? "";
  const socket = attributeOf(host, "transport") === "unix" ? attributeOf(host, "socket") : null;
  if (socket !== null) return { kind: "nbd", name, socket, host: null };
  const at = `${attributeOf(host, "name") ?? "?"}:${attributeOf(host, "port") ?? "10809"}`;
  return { kind: "nbd", name, socket: null, host: at };
}

export function nbdUri(name: string, socket: string): string {
  return `nbd+unix:///${encodeURIComponent(name)}?socket=${encodeURIComponent(socket)}`;
}

/** A place for a person and for `list`. */
export function describePlace(place: DiskPlace): string {
  switch (place.kind) {
    case "file":
    case "block":
      return place.path;
    case "nbd":
      return place.socket === null ? `nbd://${place.host}/${place.name}` : nbdUri(place.name, place.socket);
    case "volume":
      return `volume ${place.volume} of the pool ${place.pool}`;
    case "empty":
      return "no medium";
    case "other":
      return place.what;
  }
}
