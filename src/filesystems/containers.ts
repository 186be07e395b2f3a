import { exactNumber, isZero } from "../bytes/integers.ts";
import { view } from "../bytes/struct.ts";
import { uuidText } from "../bytes/uuid.ts";
import type { Finding, Json } from "../core/finding.ts";
import { type FilesystemInfo, hasText, type Recogniser, readExactly, utf8Field } from "./info.ts";
import { uuidOrNull } from "./uuids.ts";

/** Containers that are known by name only: what they hold is shown as not readable, with the reason. */
function container(
  type: string,
  uuid: string | null,
  label: string | null,
  details: { readonly [key: string]: Json },
  findings: readonly Finding[] = [],
): FilesystemInfo {
  return { kind: "unknown", type, uuid, label, size: null, state: null, details, findings };
}

const ENCRYPTED: Finding = {
  severity: "info",
  code: "bitlocker",
  message: "it is encrypted by Windows (BitLocker), which is not opened here: the guest itself or dislocker can",
  layer: "bitlocker",
};

const BITLOCKER_OFFSET_WIN7 = 176;
const BITLOCKER_OFFSET_TO_GO = 440;

/** BitLocker (libbde, "BitLocker Drive Encryption (BDE) format", 2: Vista, Windows 7 and later, To Go). */
export const bitlocker: Recogniser = {
  name: "BitLocker",
  usage: "crypto",
  async recognise(window) {
    const boot = await readExactly(window, 0, 512);
    if (!boot) return null;
    if (hasText(boot, 0, "\xeb\x52\x90-FVE-FS-"))
      return container("BitLocker", null, null, { version: "Vista" }, [ENCRYPTED]);
    const modern = hasText(boot, 0, "\xeb\x58\x90-FVE-FS-");
    if (!modern && !hasText(boot, 0, "\xeb\x58\x90MSWIN4.1")) return null;
    const at = exactNumber(view(boot).getBigUint64(modern ? BITLOCKER_OFFSET_WIN7 : BITLOCKER_OFFSET_TO_GO, true));
    const metadata = at === null || at === 0 ? null : await readExactly(window, at, 12);
    if (!metadata || !hasText(metadata, 0, "-FVE-FS-")) return null;
    const serial = modern ? view(boot).getInt32(67, true) : 0;
    const uuid = serial === 0 ? null : String(serial).padStart(16, "0");
    const details = { version: view(metadata).getUint16(10, true), toGo: !modern };
    return container("BitLocker", uuid, null, details, [ENCRYPTED]);
  },
};

const BCACHE_OFFSET = 4096;
const BCACHE_MAGIC = Buffer.from("c68573f64e1a45ca8265f57f48ba6d81", "hex");

/** bcache, cache or backing device (Linux, drivers/md/bcache/bcache_ondisk.h, struct cache_sb_disk). */
export const bcache: Recogniser = {
  name: "bcache",
  usage: "other",
  async recognise(window) {
    const sb = await readExactly(window, BCACHE_OFFSET, 256);
    if (!sb || BCACHE_MAGIC.compare(sb, 24, 40) !== 0) return null;
    if (view(sb).getBigUint64(8, true) !== BigInt(BCACHE_OFFSET / 512)) return null;
    return container("bcache", uuidOrNull(sb.subarray(40, 56)), utf8Field(sb.subarray(72, 104)), {
      version: Number(view(sb).getBigUint64(16, true)),
      setUuid: uuidText(sb.subarray(56, 72)),
    });
  },
};

/** DRBD_MD_MAGIC_08, _84_UNCLEAN, _09 (drbd-utils, user/shared/drbdmeta.c), big-endian. */
const DRBD_VERSIONS: Record<number, string> = { 2205418091: "v08", 2205418092: "v08", 2205418093: "v09" };
const DRBD_FROM_END = 4096;
const DRBD_MIN_DEVICE = 65536;

/** DRBD with internal metadata in the device's last 4 KiB. */
export const drbd: Recogniser = {
  name: "drbd",
  usage: "raid",
  async recognise(window) {
    if (window.size < DRBD_MIN_DEVICE) return null;
    const sb = await readExactly(window, window.size - DRBD_FROM_END, 72);
    if (!sb) return null;
    // In both structures six u64 and the device's UUID come before flags and magic.
    const version = DRBD_VERSIONS[view(sb).getUint32(60)];
    if (version === undefined) return null;
    return container("drbd", view(sb).getBigUint64(48).toString(16), null, { version });
  },
};

/** vdev_label_t: the configuration as an XDR-encoded name/value list follows 16 KiB of padding (ZFS On-Disk Specification, 1.2). */
const ZFS_NVLIST_OFFSET = 16 * 1024;
const ZFS_NVLIST_SEARCHED = 4096;
const ZFS_MIN_DEVICE = 64 * 1024 * 1024;
const XDR_UINT64 = 8;
const XDR_STRING = 9;

/** A member of a ZFS pool. Looked for last: old labels survive many formatters. */
export const zfs: Recogniser = {
  name: "zfs_member",
  usage: "other",
  async recognise(window) {
    if (window.size < ZFS_MIN_DEVICE) return null;
    const bytes = await readExactly(window, ZFS_NVLIST_OFFSET, ZFS_NVLIST_SEARCHED);
    // nvs_header_t: encoding 1 (XDR), then version 0 and flags NV_UNIQUE_NAME.
    if (bytes?.[0] !== 1 || !isZero(bytes.subarray(4, 8)) || view(bytes).getUint32(8) !== 1) return null;
    const pairs = nvpairs(bytes);
    const guid = pairs.get("pool_guid");
    if (typeof guid !== "bigint") return null;
    const name = pairs.get("name");
    return container("zfs_member", guid.toString(), typeof name === "string" ? name : null, {
      deviceGuid: pairs.get("guid")?.toString() ?? null,
    });
  },
};

/** The u64 and string pairs of the list's first level (nvpair: encoded size, decoded size, name, type, elements, value). */
function nvpairs(bytes: Uint8Array): Map<string, bigint | string> {
  const out = new Map<string, bigint | string>();
  const dv = view(bytes);
  const padded = (n: number) => Math.ceil(n / 4) * 4;
  for (let at = 12; at + 24 <= bytes.length; ) {
    const size = dv.getUint32(at);
    const nameLength = dv.getUint32(at + 8);
    const value = at + 12 + padded(nameLength);
    if (size < 24 || at + size > bytes.length || value + 16 > at + size) break;
    const name = Buffer.from(bytes.subarray(at + 12, at + 12 + nameLength)).toString("latin1");
    const type = dv.getUint32(value);
    if (type === XDR_UINT64) out.set(name, dv.getBigUint64(value + 8));
    const length = dv.getUint32(value + 8);
    if (type === XDR_STRING && value + 12 + length <= at + size)
      out.set(name, Buffer.from(bytes.subarray(value + 12, value + 12 + length)).toString("utf8"));
    at += size;
  }
  return out;
}
