import type { Finding, Json } from "../../core/finding.ts";
import type { Kdf } from "../../crypto/kdf.ts";
import type { CipherSpec } from "../../crypto/sector-cipher.ts";

/** A header's keyslot that can open the payload, version-independent. Offsets in bytes on the header's device. */
export interface Keyslot {
  readonly slot: number;
  /** 2: prefer, 1: normal, 0: ignore unless nothing else opens (LUKS2, Keyslots Object, "priority"). LUKS1 has only normal ones. */
  readonly priority: number;
  readonly kdf: Kdf;
  /** Where the split key lies, and what it is encrypted with; sectors of 512 bytes, numbered from 0 at `offset`. */
  readonly area: { readonly offset: number; readonly cipher: CipherSpec; readonly keyBytes: number };
  readonly stripes: number;
  readonly afHash: string;
  /** Length of the volume key. */
  readonly keyBytes: number;
  readonly digest: VolumeKeyDigest;
}

/** PBKDF2 of the volume key: how a right key is told from noise. */
interface VolumeKeyDigest {
  readonly hash: string;
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly value: Uint8Array;
}

/** Where the encrypted bytes are on the data device. */
export interface Payload {
  readonly offset: number;
  /** Bytes; null: up to the device's end. */
  readonly size: number | null;
  readonly sectorSize: number;
  /** Added to the number of every 512-byte sector of the payload to make its IV. */
  readonly ivOffset: number;
  readonly cipher: CipherSpec;
  readonly keyBytes: number;
}

/** Why the payload cannot be opened, whatever the key. */
export interface Refusal {
  readonly code: "unsupported" | "no-key";
  readonly refused: string;
}

/** A verified header, read once: everything else works on this copy. */
export interface LuksHeader {
  readonly kind: "luks1" | "luks2";
  readonly uuid: string;
  readonly label: string | null;
  /** For the tree; holds neither salts nor digests. */
  readonly details: { readonly [key: string]: Json | undefined };
  readonly findings: readonly Finding[];
  readonly keyslots: readonly Keyslot[];
  /** Keyslots that exist and belong to the payload, but cannot be used: `keyslot 3: hash whirlpool is not supported`. */
  readonly unusable: readonly string[];
  readonly payload: Payload | Refusal;
}
