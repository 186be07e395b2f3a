import type { ImageFormat } from "../core/layer.ts";

/** A disk that the user named. */
export interface SourcePlace {
  readonly kind: "source";
  /** Absolute. */
  readonly path: string;
  readonly block: boolean;
}

/** A file in a file system that lies in another place. */
export interface FilePlace {
  readonly kind: "file";
  readonly on: Place;
  /** Type of that file system, as blkid names it. */
  readonly type: string;
  /** Absolute in that file system; no element of it is a symbolic link. */
  readonly path: string;
}

/** What an image holds, in a file or block device. */
export interface ImagePlace {
  readonly kind: "image";
  readonly of: SourcePlace | FilePlace;
  readonly format: ImageFormat;
}

/** Bytes of another place: a partition. */
export interface SlicePlace {
  readonly kind: "slice";
  readonly of: Place;
  /** `p2` */
  readonly name: string;
  /** Bytes. */
  readonly offset: number;
  readonly size: number;
}

export interface LuksPlace {
  readonly kind: "luks";
  readonly of: Place;
  readonly uuid: string;
  /** Absolute path of a detached header. */
  readonly header: string | null;
  /** Where the key came from that opened it: a file's name as the user gave it, or `terminal`, `stdin` and the like. */
  readonly opened: string;
}

export interface ArrayPlace {
  readonly kind: "array";
  readonly name: string;
  /** As mdadm writes it. */
  readonly uuid: string;
  readonly members: readonly Place[];
}

export interface PhysicalVolume {
  readonly place: Place;
  readonly uuid: string;
  /** Bytes. */
  readonly size: number;
  /** Bytes where its data begins and ends: metadata areas lie before and behind. */
  readonly dataStart: number;
  readonly dataEnd: number;
}

export interface VolumeGroup {
  readonly name: string;
  readonly uuid: string;
  readonly members: readonly PhysicalVolume[];
  /** Segment types other than linear and striped: a kernel that activates them writes to their metadata. */
  readonly stateful: readonly string[];
}

export interface VolumePlace {
  readonly kind: "volume";
  readonly group: VolumeGroup;
  readonly name: string;
}

/** Where bytes are, and what has to be opened to get at them. Equal objects are the same place. */
export type Place = SourcePlace | FilePlace | ImagePlace | SlicePlace | LuksPlace | ArrayPlace | VolumePlace;

/** What a plan is for. */
export interface Target {
  readonly selector: string;
  /** As blkid's TYPE; null: unknown. */
  readonly type: string | null;
  readonly place: Place;
}
