import type { AuditLayer, HostReader } from "../model.ts";

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
