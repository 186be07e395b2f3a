import { shortPrintable } from "../bytes/text.ts";
import type { Json } from "../core/finding.ts";
import type { TreeNode } from "../stack/tree.ts";

/** A LUKS header as our own reader tells of it, in the form in which the audit takes cryptsetup's: no salt, no digest. */
export interface LuksFacts {
  readonly version: 1 | 2;
  readonly uuid: string | null;
  readonly epoch: number | null;
  /** Of the data; what a re-encryption keeps beside them is left out. Offset in bytes. */
  readonly segments: readonly {
    readonly type: string;
    readonly cipher: string | null;
    readonly offset: number | null;
  }[];
  readonly keyBits: number | null;
  readonly keyslots: readonly {
    readonly id: string;
    readonly kdf: string | null;
    readonly iterations: number | null;
    readonly memoryKiB: number | null;
    readonly unbound: boolean;
  }[];
  readonly tokens: readonly { readonly type: string; readonly keyslots: readonly string[] }[];
  readonly requirements: readonly string[];
  readonly flags: readonly string[];
}

/** More flags or requirements than there are. */
const MAX_WORDS = 64;

/** Of a LUKS container, or of an image that has LUKS of its own. Names from the header are made printable: a guest may have written anything. */
export function luksFacts({ kind, details }: TreeNode): LuksFacts {
  // What a qcow2 image has of its own is LUKS1 (QEMU, docs/interop/qcow2.txt).
  const version = kind === "luks2" || details.type === "luks2" ? 2 : 1;
  const slots = items(details.keyslots);
  return {
    version,
    uuid: text(details.uuid),
    epoch: version === 2 ? number(details.sequenceId) : null,
    segments: version === 2 ? items(details.segments).flatMap(segmentOf) : [luks1Segment(details)],
    keyBits: number(details.keyBits),
    keyslots: version === 2 ? slots.flatMap(keyslotOf) : slots.flatMap(luks1Keyslot),
    tokens: items(details.tokens).map((t) => ({
      type: text(t.type) ?? "?",
      keyslots: array(t.keyslots).map(String),
    })),
    requirements: words(details.requirements),
    flags: words(details.flags),
  };
}

type Fields = { readonly [key: string]: Json | undefined };

function segmentOf({ type, cipher, offset, flags }: Fields): LuksFacts["segments"] {
  if (array(flags).length > 0) return [];
  return [{ type: text(type) ?? "?", cipher: text(cipher), offset: number(offset) }];
}

function luks1Segment({ cipher, payloadOffset }: Fields): LuksFacts["segments"][number] {
  return { type: "crypt", cipher: text(cipher), offset: number(payloadOffset) };
}

function keyslotOf({ slot, type, kdf, unbound }: Fields): LuksFacts["keyslots"] {
  // Others keep the state of a re-encryption.
  if (type !== "luks2") return [];
  const said = fields(kdf);
  return [
    {
      id: String(slot),
      kdf: text(said.type),
      iterations: number(said.iterations ?? said.time),
      memoryKiB: number(said.memoryKiB),
      unbound: unbound === true,
    },
  ];
}

function luks1Keyslot({ slot, active, iterations }: Fields): LuksFacts["keyslots"] {
  if (active !== true) return [];
  return [{ id: String(slot), kdf: "pbkdf2", iterations: number(iterations), memoryKiB: null, unbound: false }];
}

function array(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : [];
}

function items(value: Json | undefined): Fields[] {
  return array(value).map(fields);
}

/** Each once; a header that a guest has written may have megabytes of them. */
function words(value: Json | undefined): string[] {
  const all = [...new Set(array(value).flatMap((w) => text(w) ?? []))];
  return all.length > MAX_WORDS ? [...all.slice(0, MAX_WORDS), "…"] : all;
}

function fields(value: Json | undefined): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function text(value: Json | undefined): string | null {
  return typeof value === "string" ? shortPrintable(value) : null;
}

function number(value: Json | undefined): number | null {
  return typeof value === "number" ? value : null;
}
