import { headerText } from "../../report/headers-text.ts";
import { printable } from "../../report/units.ts";
import type {
  HeaderBackupDocument,
  HeaderDocument,
  HeaderListDocument,
  HeaderVerifyDocument,
  Proof,
  Standing,
} from "../../usecases/header-documents.ts";
import { backupHeader, findBackups, headerDocument, proofOf, standingOf } from "../../usecases/headers.ts";
import { restoreHeader } from "../../usecases/restore-header.ts";
import { Keys } from "../keys.ts";
import type { HeaderFlags } from "../luks-verbs.ts";
import { emit, emitJson, note, palette, STDOUT } from "../output.ts";
import type { Session } from "../session.ts";

/** The first operand is the action, the others are its own. */
export async function run(
  [action, ...names]: readonly string[],
  flags: HeaderFlags,
  session: Session,
): Promise<number> {
  switch (action) {
    case "backup":
      return backup(names, flags, session);
    case "verify":
      return verify(names, flags, session);
    case "restore":
      return restore(names[0]!, flags, session);
    default:
      return list(names, flags, session);
  }
}

async function backup(names: readonly string[], flags: HeaderFlags, { signal }: Session): Promise<number> {
  const backups: HeaderDocument[] = [];
  for (const name of names) backups.push(headerDocument(await backupHeader(name, flags.to, { signal })));
  const document: HeaderBackupDocument = { schema: "unterbau/header-backup/1", backups };
  if (flags.json) await emitJson(document);
  else await show(backups);
  return 0;
}

async function verify(names: readonly string[], flags: HeaderFlags, { signal }: Session): Promise<number> {
  const records = findBackups(names);
  using keys = new Keys({ keyFile: flags.keyFile, keyFd: flags.keyFd, prompt: flags.prompt ?? true });
  const backups: (HeaderDocument & Standing & Proof)[] = [];
  for (const record of records) {
    const standing = await standingOf(record, { signal });
    backups.push({ ...headerDocument(record), ...standing, ...(await proofOf(record, keys, { signal })) });
  }
  const ok = backups.every((b) => b.state === "whole" && b.unlocks === true);
  const document: HeaderVerifyDocument = { schema: "unterbau/header-verify/1", backups, ok };
  if (flags.json) await emitJson(document);
  else await show(backups);
  return ok ? 0 : 1;
}

async function restore(device: string, flags: HeaderFlags, { signal }: Session): Promise<number> {
  const { from, force = false, json } = flags;
  const document = await restoreHeader(device, { from, force, signal, note });
  if (json) await emitJson(document);
  else if (document.run === null) await emit(`${printable(device)} has that header already: nothing was changed\n`);
  else
    await emit(
      `${printable(device)}: LUKS ${document.uuid}, from ${printable(document.backup)}\nthe header before it: unterbau undo ${document.run}\n`,
    );
  return 0;
}

async function list(names: readonly string[], flags: HeaderFlags, { signal }: Session): Promise<number> {
  const backups: (HeaderDocument & Standing)[] = [];
  for (const record of findBackups(names))
    backups.push({ ...headerDocument(record), ...(await standingOf(record, { signal })) });
  const document: HeaderListDocument = { schema: "unterbau/header-list/1", backups };
  if (flags.json) await emitJson(document);
  else await show(backups);
  return 0;
}

async function show(backups: readonly (HeaderDocument & Partial<Standing & Proof>)[]): Promise<void> {
  if (backups.length === 0) await emit("no header backups are known; unterbau header backup DEVICE makes one\n");
  for (const backup of backups) await emit(headerText(backup, palette(STDOUT)));
}
