import { realpathSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { StorageError } from "../../core/errors.ts";
import { bootText, diffText } from "../../report/boot-text.ts";
import { bootStatus, disableBoot } from "../../usecases/boot-disable.ts";
import { type Consent, enableBoot } from "../../usecases/boot-enable.ts";
import type { BootFlags } from "../life-verbs.ts";
import { emit, emitJson, note, palette, STDERR, STDOUT, write } from "../output.ts";
import type { Session } from "../session.ts";

export async function run(
  [action, guest = ""]: readonly string[],
  flags: BootFlags,
  session: Session,
): Promise<number> {
  const { connect, yes = false, dryRun = false, keyFile, tpm2 = false, netdev = false, discard = false } = flags;
  const root = realpathSync(resolve(flags.root));
  const base = { guest, connect, dryRun, root, signal: session.signal, note };
  const consent: Consent = (diffs) => ask(diffs, yes);
  const doc =
    action === "enable"
      ? await enableBoot({ ...base, consent, program: ownCall(), entry: { keyFile, tpm2, netdev, discard } })
      : action === "disable"
        ? await disableBoot({ ...base, consent })
        : await bootStatus(base);
  if (flags.json) await emitJson(doc);
  else await emit(bootText(doc, palette(STDOUT)));
  return doc.exitCode;
}

/** Throws `usage` without a terminal, `cancelled` on a no. */
async function ask(diffs: readonly string[], yes: boolean): Promise<void> {
  if (yes) return;
  const { askYes } = await import("../tty.ts");
  for (const diff of diffs) write(diffText(diff, palette(STDERR)), STDERR);
  const answer = await askYes("Edit these files? They are kept as they are beside the new ones. [y/N] ");
  if (answer === null) {
    throw new StorageError("usage", "files of this host would be edited", {
      layer: "boot",
      hint: "--yes says that you mean it, --dry-run shows it",
    });
  }
  if (!answer) throw new StorageError("cancelled", "nothing was changed");
}

/** As a unit of systemd can call it: Node and the launcher by their absolute paths. */
function ownCall(): string[] {
  const script = process.argv[1];
  if (script === undefined || !isAbsolute(realpathSync(script)))
    throw new StorageError("io", "this program does not know its own path");
  return [process.execPath, realpathSync(script)];
}
