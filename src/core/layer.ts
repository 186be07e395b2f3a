import type { BlockDevice } from "./device.ts";
import type { Finding, Json } from "./finding.ts";
import type { Limits } from "./limits.ts";

/** Names of layer drivers, as in errors and selectors' paths. */
export type LayerName = ImageFormat | "luks" | "mbr" | "gpt" | "lvm" | "md";

/** Image formats by the name that `--format` takes; what is none of them is `raw`. */
export const IMAGE_FORMATS = ["qcow2", "vmdk", "vdi", "vhd", "vhdx"] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** `kind` of a node in the tree that `inspect --json` prints; other programs rely on these. */
export type NodeKind =
  | "file"
  | "blockdev"
  | "nbd"
  | ImageFormat
  | "raw"
  | "luks1"
  | "luks2"
  | "mbr"
  | "gpt"
  | "partition"
  | "lvm-pv"
  | "lvm-vg"
  | "lvm-lv"
  | "md-member"
  | "md"
  | "filesystem"
  | "swap"
  | "unknown";

/** Plain facts about a layer, a member or a child: JSON only, sizes in bytes, UUIDs as blkid writes them. */
export interface NodeInfo {
  readonly kind: NodeKind;
  readonly details: { readonly [key: string]: Json | undefined };
  readonly findings: readonly Finding[];
}

/** Bounded, read-only sight of a device for probing. Reads beyond the end are cut: the result may be shorter than asked. */
export interface ProbeWindow {
  readonly size: number;
  readonly sectorSize: number;
  /** At most `length` bytes at `offset`; fewer at the end of the device. Throws `limit` once the probe's budget is spent. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface ProbeHit {
  /**
   * For layers over several devices: devices with the same `setId` are opened together (LVM: VG UUID; md: array UUID).
   * Null: this device alone is the set.
   */
  readonly setId: string | null;
  /** Which member this device is (LVM: PV UUID). Null for single-device layers. */
  readonly role: string | null;
  /** For layers over several devices: what the tree shows in place of the device (`lvm-pv`, `md-member`). */
  readonly member: NodeInfo | null;
}

/** A secret as bytes. Whoever takes it from a KeyProvider does not keep it; `wipe()` belongs to the provider. */
export interface Secret {
  readonly bytes: Uint8Array;
  /** Where it came from, for messages (`--key-file backup.key`, `terminal`); never the secret itself. */
  readonly origin: string;
}

export interface KeyRequest {
  readonly layer: "luks1" | "luks2";
  readonly uuid: string;
  readonly label: string | null;
  /** 1 for the first round of a device, counting up: a prompt repeats after a wrong passphrase. */
  readonly attempt: number;
}

/** Gives secrets to try, best guess first; an empty result means that there is no further one. */
export interface KeyProvider {
  secretsFor(request: KeyRequest): Promise<readonly Secret[]>;
}

/** Encryption of whole 512-byte sectors, in place; `sector` numbers the first one. */
export interface SectorCodec {
  encrypt(data: Uint8Array, sector: number): void;
  decrypt(data: Uint8Array, sector: number): void;
}

/** A LUKS header that lies inside an image, opened; or why there is no key. Nothing here is secret. */
export interface UnlockedHeader {
  readonly details: { readonly [key: string]: Json | undefined };
  readonly findings: readonly Finding[];
  readonly result: { readonly codec: SectorCodec } | { readonly locked: NonNullable<Layer["locked"]> };
}

export interface OpenContext {
  /** The members are writable and the layer should be opened for writing. */
  readonly writable: boolean;
  readonly keys: KeyProvider;
  readonly limits: Limits;
  readonly signal?: AbortSignal | undefined;
  /**
   * LUKS: the header and keyslots are here, the members hold the payload only. For the one layer that it belongs to: not to be
   * handed on to layers inside.
   */
  readonly detachedHeader?: BlockDevice | undefined;
  /**
   * Opens an image named inside another image (backing file, data file), read-only, through the path gate.
   * `format`: `raw` or an image format's name, QEMU's names included; null: detect. Throws `gate` when the path is not allowed,
   * `limit` when the chain is too deep, `unsupported` for a format that nobody here reads.
   */
  openImage(reference: string, format: string | null): Promise<BlockDevice>;
  /** An image's internal snapshot (its name or id) that is to be shown, for reading, in place of the disk as it is now. */
  readonly snapshot?: string | undefined;
  /**
   * Opens the file that holds an image's data, through the path gate; writable when the context is. Its bytes are never looked into for
   * a format. Absent where an image cannot have one.
   */
  readonly openDataFile?: ((reference: string) => Promise<BlockDevice>) | undefined;
  /** Reads and unlocks the LUKS header that an image carries; `header` is that header and its keyslots. */
  readonly unlockHeader?: ((header: BlockDevice) => Promise<UnlockedHeader>) | undefined;
}

export interface LayerChild {
  /** The element in selectors and paths: `p2`, `lvroot`. */
  readonly name: string;
  /**
   * What the tree shows for it. Null: the child has no node of its own, its content stands directly below the layer
   * (the one child of qcow2 and LUKS).
   */
  readonly info: NodeInfo | null;
  /** Byte offset in the layer's one member when the child is one contiguous run there, else null. */
  readonly offset: number | null;
  /** Bytes. */
  readonly size: number;
  /** Why `open()` would fail (a missing PV, an unsupported segment type), or null. */
  readonly unavailable: string | null;
  /** False: the child holds nothing to look into (an extended partition, LVM's internal LVs); it is shown only. */
  readonly hasContent: boolean;
  /** A new device each time; the caller disposes of it. The layer must outlive it. */
  open(): Promise<BlockDevice>;
}

/** An opened layer. Disposing of it disposes of what it opened itself (backing files), never of its members. */
export interface Layer extends AsyncDisposable {
  readonly info: NodeInfo;
  /** Why there are no children although there should be (no key, wrong key, refused feature), else null. */
  readonly locked: { readonly code: "no-key" | "wrong-key" | "unsupported"; readonly reason: string } | null;
  readonly children: readonly LayerChild[];
}

export interface LayerDriver {
  readonly name: LayerName;
  /** It has internal snapshots and understands `context.snapshot`. */
  readonly hasSnapshots?: boolean | undefined;
  /** Bounded reads, never writes. A wrong format is the value null; a damaged header of the right format is a hit. */
  probe(window: ProbeWindow): Promise<ProbeHit | null>;
  /** `members`: one device, or those of a set in any order. Corruption is a StorageError. */
  open(members: readonly BlockDevice[], context: OpenContext): Promise<Layer>;
}
