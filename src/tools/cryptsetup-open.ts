import { StorageError } from "../core/errors.ts";
import { mustRun, type ProgramResult, programFailed, runProgram } from "./run-program.ts";

const PACKAGE = { packageName: "cryptsetup-bin" };
/** cryptsetup(8), "RETURN CODES": no permission, which is a wrong passphrase. */
const WRONG_KEY = 2;

/** How crypttab(5) wants a LUKS volume opened, in cryptsetup's words. */
export interface OpenRequest {
  readonly device: string;
  readonly name: string;
  /** Options in front of device and name: `--allow-discards`. */
  readonly options: readonly string[];
}

/** What stands behind `cryptsetup`; the key comes by `keyFile`, which `-` makes standard input. */
export function openArguments({ device, name, options }: OpenRequest, keyFile: string | null): string[] {
  return ["open", "--type", "luks", ...options, ...(keyFile === null ? [] : ["--key-file", keyFile]), device, name];
}

/** Opens with a key file, or with the bytes of a passphrase. False: it is the wrong one. Throws `io` for anything else. */
export async function openLuks(request: OpenRequest, key: string | Uint8Array, signal?: AbortSignal): Promise<boolean> {
  const input = typeof key === "string" ? undefined : key;
  const args = openArguments(request, typeof key === "string" ? key : "-");
  const result = await runProgram("cryptsetup", args, { ...PACKAGE, input, signal });
  if (result.code === 0) return true;
  if (result.code === WRONG_KEY) return false;
  throw openFailed(request, result);
}

function openFailed({ device, name }: OpenRequest, result: ProgramResult): StorageError {
  const reason = programFailed("cryptsetup", result);
  return new StorageError("io", `${device} cannot be opened as ${name}: ${reason.message}`, { layer: "luks" });
}

/** Which LUKS header is there. Throws `io` when there is none. */
export async function luksHeader(
  device: string,
): Promise<{ readonly uuid: string; readonly layer: "luks1" | "luks2" }> {
  const uuid = (await mustRun("cryptsetup", ["luksUUID", device], PACKAGE)).trim();
  const second = await runProgram("cryptsetup", ["isLuks", "--type", "luks2", device], PACKAGE);
  return { uuid, layer: second.code === 0 ? "luks2" : "luks1" };
}
