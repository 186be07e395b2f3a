import { alignDown } from "../../bytes/integers.ts";
import { view } from "../../bytes/struct.ts";
import { checked } from "../../core/checked.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { Layer, OpenContext } from "../../core/layer.ts";
import { type SectorCipher, sectorCipher } from "../../crypto/sector-cipher.ts";
import { wipe } from "../../crypto/wipe.ts";
import { CryptDevice } from "./device.ts";
import { readLuks1 } from "./luks1.ts";
import { readLuks2 } from "./luks2.ts";
import { hasPrimaryMagic, isLuks1InReencryption } from "./magic.ts";
import type { LuksHeader, Payload, Refusal } from "./types.ts";
import { unlock } from "./unlock.ts";

/** The payload, unlocked, or why there is no key. With `context.detachedHeader` the member holds the payload only. */
export async function openLuks(members: readonly BlockDevice[], context: OpenContext): Promise<Layer> {
  const [data] = members;
  if (!data || members.length !== 1) throw new StorageError("usage", "LUKS lies on one device", { layer: "luks" });
  const header = context.detachedHeader ?? data;
  return openLayer(await readLuksHeader(header, context), header, data, context);
}

/** Half of the payload is under the old key; where the border lies is in a file of the host that ran cryptsetup. */
const LUKS1_REENCRYPTION: Refusal = {
  code: "unsupported",
  refused:
    "a re-encryption of this LUKS1 device was begun and is not finished: end it first, with the same cryptsetup reencrypt command " +
    "in the folder where it left its files LUKS-UUID.log, .org and .new",
};

/** The verified header at the start of `device`; `corrupt` or `unsupported` when there is none that could be used. */
export async function readLuksHeader(device: BlockDevice, context: Pick<OpenContext, "limits">): Promise<LuksHeader> {
  const start = await readBytes(device, 0, Math.min(8, device.size));
  if (start.length === 8 && hasPrimaryMagic(start)) {
    const version = view(start).getUint16(6);
    if (version === 1) return readLuks1(device);
    if (version !== 2) {
      throw new StorageError("unsupported", `LUKS version ${version} is not known`, {
        layer: "luks",
        offset: 6,
        feature: `LUKS version ${version}`,
      });
    }
  }
  if (isLuks1InReencryption(start)) return { ...(await readLuks1(device)), payload: LUKS1_REENCRYPTION };
  return readLuks2(device, context.limits);
}

async function openLayer(
  header: LuksHeader,
  device: BlockDevice,
  data: BlockDevice,
  context: OpenContext,
): Promise<Layer> {
  const { payload } = header;
  const closed = (locked: NonNullable<Layer["locked"]>, findings: readonly Finding[] = header.findings) =>
    layerOf(header, findings, locked, null);
  if ("refused" in payload) return closed({ code: payload.code, reason: payload.refused });
  const place = placeOf(payload, header.kind, data, device !== data);
  if (place.refused) {
    const finding: Finding = {
      severity: "error",
      code: "luks-payload-missing",
      message: place.refused,
      layer: header.kind,
    };
    return closed({ code: "unsupported", reason: place.refused }, [...header.findings, finding]);
  }

  const result = await unlock(header, device, context);
  if ("code" in result) return closed(result);
  const cipher = sectorCipher(payload.cipher, result.key, payload.sectorSize);
  wipe(result.key);
  const findings = place.finding ? [...header.findings, place.finding] : header.findings;
  return layerOf(header, findings, null, {
    cipher,
    unlockedBy: { slot: result.slot, origin: result.origin },
    size: place.size,
    below: data,
    payload,
    writable: context.writable && data.caps.writable,
  });
}

/** The payload's length on the device, or why it is not there. */
function placeOf(payload: Payload, layer: "luks1" | "luks2", data: BlockDevice, detached: boolean) {
  const none = (refused: string) => ({ refused, size: 0, finding: null });
  if (payload.offset === 0 && !detached) {
    return none("this is a detached header: the data is on another device; give the header with --header");
  }
  const room = data.size - payload.offset;
  if (room < payload.sectorSize) {
    return none(
      `the data should start at byte ${payload.offset}, but the device ends at ${data.size}: ` +
        "a header backup, or a device that was cut off",
    );
  }
  if (payload.size !== null && payload.size > room) {
    return none(`the data should have ${payload.size} bytes, but the device ends after ${room}: it was cut off`);
  }
  const size = alignDown(payload.size ?? room, payload.sectorSize);
  if (payload.ivOffset + size / 512 > Number.MAX_SAFE_INTEGER) return none("its iv_tweak is too large");
  const rest = (payload.size ?? room) - size;
  const finding: Finding | null =
    rest === 0
      ? null
      : {
          severity: "info",
          code: "luks-partial-sector",
          message: `the last ${rest} bytes are not a whole sector of ${payload.sectorSize} bytes and not part of the volume`,
          layer,
          offset: payload.offset + size,
        };
  return { refused: null, size, finding };
}

interface Opened {
  readonly cipher: SectorCipher;
  readonly unlockedBy: { readonly slot: number; readonly origin: string };
  readonly size: number;
  readonly below: BlockDevice;
  readonly payload: Payload;
  readonly writable: boolean;
}

function layerOf(
  header: LuksHeader,
  findings: readonly Finding[],
  locked: Layer["locked"],
  opened: Opened | null,
): Layer {
  let cipher = opened?.cipher ?? null;
  return {
    info: {
      kind: header.kind,
      details: opened ? { ...header.details, unlockedBy: opened.unlockedBy } : header.details,
      findings,
    },
    locked,
    children: opened
      ? [
          {
            name: "luks",
            info: null,
            offset: null,
            size: opened.size,
            unavailable: null,
            hasContent: true,
            async open() {
              const { below, payload, size, writable } = opened;
              const options = { below, offset: payload.offset, size, ivOffset: payload.ivOffset, writable };
              return checked(new CryptDevice({ ...options, cipher: () => cipher }, payload.sectorSize), header.kind);
            },
          },
        ]
      : [],
    async [Symbol.asyncDispose]() {
      cipher = null;
    },
  };
}
