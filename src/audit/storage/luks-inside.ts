import type { AuditGuest, AuditLayer, HostReader } from "../model.ts";

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

/** A LUKS header inside a guest's disk, as our own reader tells of it. Plain facts: they are kept with the verdict. */
export interface LuksInsideHeader {
  /** `vda: 1b4e28ba-…` */
  readonly name: string;
  readonly version: 1 | 2;
  readonly cipher: string;
  readonly keyBits: number | null;
}

/** Of the disks that count as encrypted by the guest's own LUKS; null: there are such, and what they have is not told. */
export async function luksInsideHeaders(
  guest: AuditGuest | null,
  host: HostReader,
): Promise<LuksInsideHeader[] | null> {
  const disks = (guest?.disks ?? []).filter((d) => d.layers?.kind === "luks inside");
  const found = await Promise.all(
    disks.map(async ({ target, format, layers }) => {
      const result = await host.run(["unterbau", LUKS_INSIDE, format ?? "", layers?.path ?? ""]);
      const text = result.kind === "ran" && result.exit === 0 ? result.stdout : "";
      return [...text.matchAll(/^luks([12]) (\S+) (\d+|-) (\S+)$/gm)].map(
        ([, version, cipher, bits, uuid]): LuksInsideHeader => ({
          name: `${target}: ${uuid}`,
          version: version === "1" ? 1 : 2,
          cipher: cipher!,
          keyBits: bits === "-" ? null : Number(bits),
        }),
      );
    }),
  );
  return found.some((headers) => headers.length === 0) ? null : found.flat();
}
