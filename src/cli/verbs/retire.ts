import { basename } from "node:path";
import { StorageError } from "../../core/errors.ts";
import { retirementsText, retireText } from "../../report/retire-text.ts";
import { printable } from "../../report/units.ts";
import { listRetirements, planRetirement, resumeRetirement, retire, showRetirement } from "../../usecases/retire.ts";
import type { RetireDocument } from "../../usecases/retire-documents.ts";
import type { RetireOptions } from "../../usecases/retire-preflight.ts";
import { Keys } from "../keys.ts";
import { emit, emitJson, note, STDERR, write } from "../output.ts";
import { Progress } from "../progress.ts";
import type { RetireFlags } from "../retire-verb.ts";
import type { Session } from "../session.ts";
import { VERSION } from "../version.ts";

export async function run([named = ""]: readonly string[], flags: RetireFlags, session: Session): Promise<number> {
  const { list, show, resume, json } = flags;
  if ([named !== "", list, show !== undefined, resume !== undefined].filter(Boolean).length !== 1) {
    throw new StorageError("usage", "a guest or a migration's run is wanted, or --resume, --list or --show", {
      hint: "unterbau retire vm:mail --dry-run",
    });
  }
  if (list) {
    const document = listRetirements();
    if (json) await emitJson(document);
    else await emit(retirementsText(document));
    return 0;
  }
  const document = show === undefined ? await work(named, flags, session) : showRetirement(show);
  if (json) await emitJson(document);
  else await emit(retireText(document));
  return 0;
}

async function work(named: string, flags: RetireFlags, { signal }: Session): Promise<RetireDocument> {
  using keys = new Keys({ keyFile: flags.keyFile, keyFd: flags.keyFd, prompt: false });
  let bar: Progress | null = null;
  let phase = "";
  const options: RetireOptions = {
    connect: flags.connect,
    keepDomain: flags.keepDomain ?? false,
    backing: flags.backing ?? [],
    luksFromFirstWrite: flags.luksFromFirstWrite ?? false,
    iKnow: flags.iKnow ?? false,
    version: VERSION,
    keys,
    signal,
    onProgress: (name, done, total) => {
      if (name !== phase) bar?.clear();
      if (name !== phase || bar === null) bar = new Progress(printable(name));
      phase = name;
      bar.bytes(done, total);
    },
    note: (text) => {
      bar?.clear();
      note(printable(text));
    },
  };
  const ask = async (record: RetireDocument): Promise<void> => {
    bar?.clear();
    await consent(record, flags.yesDestroy);
  };
  try {
    if (flags.resume !== undefined) return await resumeRetirement(flags.resume, options);
    if (flags.dryRun) return await planRetirement(named, options);
    return await retire(named, ask, options);
  } finally {
    (bar as Progress | null)?.clear();
  }
}

/** The names of what is lost, typed. Throws `usage` without a terminal or for another name. */
async function consent(record: RetireDocument, given: readonly string[] | undefined): Promise<void> {
  if (given === undefined) write(retireText(record), STDERR);
  const { askLine } = await import("../tty.ts");
  for (const { path, disk } of record.targets) {
    if (disk === null) continue;
    const name = basename(path);
    const means = (answer: string) => answer === name || answer === path;
    if (given?.some(means)) continue;
    if (given !== undefined) {
      throw new StorageError("usage", `${printable(path)} was not named: nothing was destroyed`, {
        hint: `--yes-destroy ${printable(name)}`,
      });
    }
    const answer = await askLine(`There is no way back. Type ${printable(name)} to destroy ${printable(path)}: `);
    if (answer === null) {
      throw new StorageError("usage", `${printable(path)} would be destroyed`, {
        hint: `--yes-destroy ${printable(name)} says that you mean it, --dry-run shows all of it`,
      });
    }
    if (!means(answer)) {
      throw new StorageError("usage", `${printable(answer)} is not its name: nothing was destroyed`, {
        hint: `it is ${printable(name)}`,
      });
    }
  }
}
