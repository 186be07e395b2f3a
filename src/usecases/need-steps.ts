import { existsSync, readdirSync, readFileSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import { describeError, StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import { deviceUsers, folderUsers } from "../host/busy.ts";
import { type HostView, thisHost } from "../host/host-view.ts";
import { splitMapperName } from "../host/lvm-groups.ts";
import { cryptsetupUnit } from "../host/unit-names.ts";
import { quote } from "../plan/quote.ts";
import { luksHeader, openArguments, openLuks } from "../tools/cryptsetup-open.ts";
import { findProgram } from "../tools/find.ts";
import { mustRun, runProgram } from "../tools/run-program.ts";
import { openingOf, usualKeyFiles } from "./crypt-opening.ts";
import type { CryptNeed, Need } from "./guest-needs.ts";

/** How long a mount may take: a journal of a large file system is replayed in it. */
const MOUNT_TIMEOUT_MS = 30 * 60_000;
const SETTLE_SECONDS = 30;

export interface StepContext {
  readonly keys: KeyProvider;
  readonly signal?: AbortSignal | undefined;
}

/** The command that opens, activates or mounts, as a person would type it. */
export function openCommand(need: Need): readonly string[] {
  switch (need.kind) {
    case "crypt": {
      const { entry, name } = need;
      if (entry === null) return [];
      const opening = openingOf(entry);
      if (opening.by === "systemd") return ["systemctl", "start", opening.unit];
      const keyFile = keyFileOf(name, opening.keyFile);
      const options = [...opening.options, ...(keyFile === null ? [] : opening.keyOptions)];
      return ["cryptsetup", ...openArguments({ device: entry.device, name, options }, keyFile)];
    }
    case "volume":
      return ["lvchange", "--activate", "y", `${need.group}/${need.volume}`];
    case "mount":
      return need.declared?.unit ? ["systemctl", "start", need.declared.unit] : ["mount", need.where];
  }
}

/** The commands that take it away again. A volume group that lies on an encrypted volume goes with it. */
export async function closeCommands(need: Need): Promise<(readonly string[])[]> {
  switch (need.kind) {
    case "crypt": {
      const groups = groupsOn(need.name).map((group) => ["vgchange", "--activate", "n", group]);
      const unit = cryptsetupUnit(need.name);
      return [...groups, (await isActive(unit)) ? ["systemctl", "stop", unit] : ["cryptsetup", "close", need.name]];
    }
    case "volume":
      return [["lvchange", "--activate", "n", `${need.group}/${need.volume}`]];
    case "mount":
      return [["umount", need.where]];
  }
}

export function commandText(argv: readonly string[]): string {
  return argv.map(quote).join(" ");
}

/** Does one step. Throws what went wrong; that somebody else did it meanwhile is no error. */
export async function open(need: Need, context: StepContext): Promise<void> {
  try {
    if (need.kind === "crypt") await openCrypt(need, context);
    else {
      const [program = "", ...args] = openCommand(need);
      await mustRun(program, args, { signal: context.signal, timeoutMs: MOUNT_TIMEOUT_MS });
    }
  } catch (error) {
    if (!isThere(need, thisHost())) throw error;
  }
  await settle();
  if (isThere(need, thisHost())) return;
  throw new StorageError("io", `${commandText(openCommand(need))} had no effect`, { layer: need.kind });
}

/** Takes one step away. Throws `locked` with who uses it. */
export async function close(need: Need, signal?: AbortSignal): Promise<void> {
  let failure: unknown = null;
  await settle();
  for (const [program = "", ...args] of await closeCommands(need)) {
    try {
      await mustRun(program, args, { signal, timeoutMs: MOUNT_TIMEOUT_MS });
    } catch (error) {
      failure ??= error;
    }
  }
  if (!isThere(need, thisHost())) return;
  const users = usersOf(need);
  const why =
    users.length > 0
      ? `in use: ${users.map(printable).join(", ")}`
      : failure === null
        ? "the command had no effect"
        : describeError(failure);
  throw new StorageError("locked", why, { cause: failure });
}

/** Looks whether it is there now. */
export function isThere(need: Need, view: HostView): boolean {
  switch (need.kind) {
    case "crypt":
      return view.mappedUuid(need.name) !== null;
    case "volume":
      return view.device(`/dev/${need.group}/${need.volume}`) !== null;
    case "mount":
      return view.mounted.some((m) => m.where === need.where);
  }
}

async function openCrypt(need: CryptNeed, { keys, signal }: StepContext): Promise<void> {
  const { entry, name } = need;
  if (entry === null) throw new StorageError("usage", `${printable(name)} is not in /etc/crypttab`);
  const opening = openingOf(entry);
  if (opening.by === "systemd") {
    // It may ask a person by systemd-ask-password, and a token for a touch.
    await mustRun("systemctl", ["start", opening.unit], { signal });
    return;
  }
  const { device } = entry;
  const request = { device, name, options: opening.options };
  const keyFile = keyFileOf(name, opening.keyFile);
  if (keyFile !== null && existsSync(keyFile)) {
    const withFile = { ...request, options: [...opening.options, ...opening.keyOptions] };
    if (await openLuks(withFile, keyFile, signal)) return;
  }
  const header = opening.options.find((o) => o.startsWith("--header="))?.slice("--header=".length);
  const { uuid, layer } = await luksHeader(header ?? device);
  for (let attempt = 1; ; attempt++) {
    const secrets = await keys.secretsFor({ layer, uuid, label: name, attempt });
    if (secrets.length === 0) break;
    for (const { bytes } of secrets) if (await openLuks(request, bytes, signal)) return;
  }
  throw new StorageError("key", `no key opens ${printable(name)} (${uuid} on ${printable(device)})`, {
    layer: "luks",
    hint:
      keyFile === null
        ? "give one with --key-file, or type the passphrase"
        : `the key file of crypttab, ${printable(keyFile)}, ${existsSync(keyFile) ? "does not fit" : "is not there"}; give another one with --key-file, or type the passphrase`,
  });
}

function keyFileOf(name: string, declared: string | null): string | null {
  return declared ?? usualKeyFiles(name).find((path) => existsSync(path)) ?? null;
}

/** Volume groups with an active volume on an open mapping. */
function groupsOn(name: string): string[] {
  const groups = new Set<string>();
  for (const holder of holdersOf(name)) {
    const split = splitMapperName(holder);
    if (split !== null) groups.add(split.group);
  }
  return [...groups].sort();
}

/** Names of LVM's volumes that lie on a mapping. */
function holdersOf(name: string): string[] {
  const read = (path: string) => attempt(() => readFileSync(path, "utf8").trim()) ?? "";
  const found = (attempt(() => readdirSync("/sys/block")) ?? []).find(
    (dm) => dm.startsWith("dm-") && read(`/sys/block/${dm}/dm/name`) === name,
  );
  const holders = found === undefined ? [] : (attempt(() => readdirSync(`/sys/block/${found}/holders`)) ?? []);
  return holders
    .filter((dm) => read(`/sys/block/${dm}/dm/uuid`).startsWith("LVM-"))
    .map((dm) => read(`/sys/block/${dm}/dm/name`));
}

function usersOf(need: Need): string[] {
  switch (need.kind) {
    case "crypt":
      return deviceUsers(`/dev/mapper/${need.name}`);
    case "volume":
      return deviceUsers(`/dev/${need.group}/${need.volume}`);
    case "mount": {
      const inner = thisHost().mounted.filter((m) => m.where.startsWith(`${need.where}/`));
      return [...inner.map((m) => `the mount on ${m.where}`), ...folderUsers(need.where)];
    }
  }
}

/** systemd keeps a unit that it started as active; closed behind its back it would not open it again. */
async function isActive(unit: string): Promise<boolean> {
  if (!existsSync("/run/systemd/system") || findProgram("systemctl") === null) return false;
  return (await runProgram("systemctl", ["is-active", "--quiet", unit])).code === 0;
}

/** udev looks at new devices, and keeps them open for that moment. */
async function settle(): Promise<void> {
  if (findProgram("udevadm") !== null) await runProgram("udevadm", ["settle", `--timeout=${SETTLE_SECONDS}`]);
}

function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
