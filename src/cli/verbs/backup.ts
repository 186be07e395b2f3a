import { StorageError } from "../../core/errors.ts";
import { backupListText, backupText, verifyHeading } from "../../report/backup-text.ts";
import { verdictLine, volumeHeading } from "../../report/check-text.ts";
import { backup, listBackups } from "../../usecases/backup.ts";
import { verifyBackup } from "../../usecases/backup-verify.ts";
import { Keys } from "../keys.ts";
import type { BackupFlags } from "../life-verbs.ts";
import { emit, emitJson, note, palette, STDOUT, write } from "../output.ts";
import { Progress } from "../progress.ts";
import type { Session } from "../session.ts";

export async function run(
  [action, guest = ""]: readonly string[],
  flags: BackupFlags,
  session: Session,
): Promise<number> {
  const store = { passwordFile: flags.repoPasswordFile, signal: session.signal, note };
  if (action === "list") {
    const doc = await listBackups(flags.from!, store);
    if (flags.json) await emitJson(doc);
    else await emit(backupListText(doc, palette(STDOUT)));
    return 0;
  }
  return action === "verify" ? verify(guest, flags, store) : make(guest, flags, store);
}

interface Store {
  readonly passwordFile: string | undefined;
  readonly signal: AbortSignal;
  readonly note: (text: string) => void;
}

async function make(guest: string, flags: BackupFlags, store: Store): Promise<number> {
  const { connect, to, content = false, live = false, plaintext = false, scratch } = flags;
  if (to === undefined)
    throw new StorageError("usage", "where to is not said", { hint: "--to DIR, --to restic:REPO or --to borg:REPO" });
  const bars = new Map<string, Progress>();
  const doc = await backup({
    ...store,
    guest,
    connect,
    to,
    content,
    live,
    plaintext,
    scratch,
    onProgress: (target, fraction) => {
      const bar = bars.get(target) ?? new Progress(`backing up ${target}`);
      bars.set(target, bar);
      if (fraction >= 1) bar.clear();
      else bar.update(fraction);
    },
  });
  if (flags.json) await emitJson(doc);
  else await emit(backupText(doc));
  return 0;
}

async function verify(guest: string, flags: BackupFlags, store: Store): Promise<number> {
  const { keyFile, keyFd, prompt = true, scratch, checkerTimeout = 3600 } = flags;
  using keys = new Keys({ keyFile, keyFd, prompt });
  const p = palette(STDOUT);
  const doc = await verifyBackup({
    ...store,
    from: flags.from!,
    guest,
    id: flags.id ?? null,
    scratch,
    keys,
    timeoutMs: checkerTimeout * 1000,
    on: flags.json
      ? undefined
      : {
          volume: (v) => write(`${volumeHeading(v, p)}\n`),
          done: (v) => write(`${verdictLine(v, p)}\n`),
        },
  });
  if (flags.json) await emitJson(doc);
  else await emit(verifyHeading(doc, p));
  return doc.exitCode;
}
