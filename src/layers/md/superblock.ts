import type { BlockDevice } from "../../core/device.ts";

/** `spare`: no role, or not any more. */
export type MdRole = number | "spare" | "faulty" | "journal";

/** What a member's superblock says, whatever its version. Sizes and offsets in bytes; offsets from the member's start. */
export interface MdSuperblock {
  readonly version: "0.90" | "1.0" | "1.1" | "1.2";
  readonly offset: number;
  /** 0.90 is written in the byte order of the machine. */
  readonly bigEndian: boolean;
  /** The array's, as blkid writes it. */
  readonly uuid: string;
  readonly deviceUuid: string | null;
  /** Permanent within the array; not the role. */
  readonly deviceNumber: number;
  /** `host:name` or a name; null with 0.90, which has the preferred minor instead. */
  readonly name: string | null;
  readonly minor: number | null;
  readonly level: number;
  /** Null: not said (raid0 before mdadm 4.2, 0.90). */
  readonly layout: number | null;
  readonly chunk: number;
  readonly raidDisks: number;
  /** Used of each member; not meaningful for linear and raid0. */
  readonly usedSize: number;
  readonly dataOffset: number;
  /** What this member has room for. */
  readonly dataSize: number;
  /** Counts the superblock's updates: whoever has fewer than the others missed something. */
  readonly events: bigint;
  readonly role: MdRole;
  /** Role by device number, as this superblock knows them. */
  readonly roles: ReadonlyMap<number, MdRole>;
  /** Up to where this member's data area holds the array's data; null: all of it. */
  readonly recoveredTo: number | null;
  /** Up to where the members agree; null: everywhere. */
  readonly syncedTo: number | null;
  readonly writeMostly: boolean;
  /** A copy in the making of the member with the same role. */
  readonly replacement: boolean;
  /** The write-intent bitmap. */
  readonly bitmapAt: number | null;
  readonly badBlockLog: { readonly at: number; readonly sectors: number; readonly shift: number } | null;
  readonly hasJournal: boolean;
  readonly hasPpl: boolean;
  /** Why an array with this superblock is not to be opened at all, by the feature's name, or null. */
  readonly refused: { readonly feature: string; readonly reason: string } | null;
}

export type MdReader = (offset: number, length: number) => Promise<Uint8Array>;

/** `damaged`: it is one, but must not be believed; Linux refuses it too. */
export type MdResult =
  | { readonly kind: "absent" }
  | { readonly kind: "damaged"; readonly reason: string; readonly offset: number; readonly version: string }
  | { readonly kind: "member"; readonly superblock: MdSuperblock };

export const SECTOR = 512;

/** A device of the set with its superblock. */
export interface MdMember {
  readonly device: BlockDevice;
  readonly superblock: MdSuperblock;
}
