import * as v from "valibot";
import type { AuditDisk, AuditGuest, AuditLayer, HostReader } from "../model.ts";
import type { CryptVolume } from "./crypt-volumes.ts";
import { allLayers, encryptionOf } from "./layers.ts";
import type { LuksHeader } from "./luks-header.ts";

/** What this program itself is asked for: whether every volume in an image lies in LUKS. */
export const LUKS_INSIDE = "luks-inside";

/**
 * The layers of a disk that the host does not encrypt, below the guest's own LUKS where our reader has found that all volumes lie in it; else null.
 * With images below nothing is shown: what they hold may never have been encrypted.
 */
export async function luksInside(
  path: string,
  format: string,
  layers: AuditLayer,
  host: HostReader,
): Promise<AuditLayer | null> {
  const result = await host.run(["unterbau", LUKS_INSIDE, format, path]);
  if (result.kind !== "ran" || result.exit !== 0) return null;
  const cipher = /^full (\S+)$/m.exec(result.stdout)?.[1];
  if (cipher === undefined) return null;
  return { ...layers, kind: "luks inside", name: "luks", path, cipher, keyBits: null, encrypts: true, below: [layers] };
}

/** Every LUKS container inside the guest's disks, with the header that our own reader has read there; one without, where it told of none. */
export async function luksInsideVolumes(guest: AuditGuest | null, host: HostReader): Promise<CryptVolume[]> {
  const found = await Promise.all((guest === null ? [] : luksPlaces(guest)).map((place) => volumesAt(place, host)));
  return found.flat();
}

/** An image or device with LUKS in it. */
export interface LuksPlace {
  readonly target: string;
  readonly path: string;
  readonly format: string;
  readonly below: AuditLayer | null;
}

/** The disk itself where the guest encrypts; each image that QEMU decrypts. */
export function luksPlaces(guest: AuditGuest): LuksPlace[] {
  return guest.disks.flatMap(placesOf);
}

function placesOf({ target, format, layers }: AuditDisk): LuksPlace[] {
  return (layers === null ? [] : allLayers(layers)).flatMap((layer) => {
    const { kind, name, path, below } = layer;
    if (kind !== "luks inside" || path === null) return [];
    const own = layer === layers ? format : name === "luks" ? "raw" : name;
    return [{ target, path, format: own ?? "", below: below[0] ?? null }];
  });
}

async function volumesAt({ target, path, format, below }: LuksPlace, host: HostReader): Promise<CryptVolume[]> {
  const result = await host.run(["unterbau", LUKS_INSIDE, format, path]);
  const text = result.kind === "ran" && result.exit === 0 ? result.stdout : "";
  // One line each, whatever is in it: a container that is not understood must not go unseen.
  const headers = text.split("\n").flatMap((line) => {
    const [found, json = ""] = /^luks[12] \S+ (?:\d+|-) \S+(?: (\{.*\}))?$/s.exec(line) ?? [];
    return found === undefined ? (line.startsWith("luks") ? [null] : []) : [headerOf(json)];
  });
  const base = {
    inside: true,
    dmUuid: "",
    table: null,
    device: path,
    deviceNumber: null,
    on: below?.kind ?? "unknown",
    onEncrypted: below === null ? ("unknown" as const) : encryptionOf(below),
  };
  return (headers.length === 0 ? [null] : headers).map((header) => ({
    ...base,
    name: `${target}: ${header?.uuid ?? "LUKS"}`,
    deviceUuid: header?.uuid ?? null,
    header,
    problem: header === null ? `unterbau ${LUKS_INSIDE}` : null,
  }));
}

/** As this program wrote it, or a record of it; null: something else. */
function headerOf(json: string): LuksHeader | null {
  try {
    const parsed = v.safeParse(HEADER, JSON.parse(json));
    return parsed.success ? parsed.output : null;
  } catch {
    return null;
  }
}

const TEXT = v.nullable(v.string());
const COUNT = v.nullable(v.number());
const HEADER = v.object({
  version: v.picklist([1, 2]),
  uuid: TEXT,
  epoch: COUNT,
  segments: v.array(v.object({ type: v.string(), cipher: TEXT, offset: COUNT })),
  keyBits: COUNT,
  keyslots: v.array(v.object({ id: v.string(), kdf: TEXT, iterations: COUNT, memoryKiB: COUNT, unbound: v.boolean() })),
  tokens: v.array(v.object({ type: v.string(), keyslots: v.array(v.string()) })),
  requirements: v.array(v.string()),
  flags: v.array(v.string()),
});
