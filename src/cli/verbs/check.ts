import { StringDecoder } from "node:string_decoder";
import { passedOverLine, verdictLine, volumeHeading } from "../../report/check-text.ts";
import type { Palette } from "../../report/tree-text.ts";
import { printableLines } from "../../report/units.ts";
import { type CheckOptions, check } from "../../usecases/check.ts";
import type { CheckDocument } from "../../usecases/documents.ts";
import type { CheckFlags } from "../options.ts";
import { emit, emitJson, note, palette, STDOUT, write } from "../output.ts";
import { Progress } from "../progress.ts";
import { type Session, sourceOptions } from "../session.ts";

export async function run(sources: readonly string[], flags: CheckFlags, session: Session): Promise<number> {
  using keys = session.keys(flags);
  const p = palette(STDOUT);
  const decoder = new StringDecoder("utf8");
  let progress: Progress | null = null;
  const say = (text: string): void => {
    progress?.clear();
    write(text);
  };
  const options: CheckOptions = {
    ...sourceOptions(sources, flags, keys, session),
    volumes: flags.volume ?? [],
    repair: flags.repair ?? false,
    preen: flags.preen ?? false,
    force: flags.force ?? false,
    zeroLog: flags.xfsZeroLog ?? false,
    timeoutMs: flags.checkerTimeout * 1000,
    on: {
      volume: (v) => {
        progress = new Progress(`checking ${v.selector}`);
        if (!flags.json) say(`${volumeHeading(v, p)}\n`);
      },
      output: (chunk) => {
        if (!flags.json) say(printableLines(decoder.write(Buffer.from(chunk))));
      },
      // Asked for only where it is drawn: each of its lines wakes this process, which took a tenth of a short check.
      ...(Progress.shown() ? { progress: (fraction) => progress?.update(fraction) } : {}),
      done: (d) => {
        progress?.clear();
        if (!flags.json) say(`${verdictLine(d, p)}\n`);
      },
      passedOver: (volumes) => {
        if (!flags.json) say(`\n${p.dim(passedOverLine(volumes))}\n`);
      },
    },
  };
  const doc = await (flags.live
    ? whileRunning(options, flags)
    : flags.shutdown
      ? withShutdown(options, flags)
      : check(options));
  try {
    if (flags.json) await emitJson(doc);
    else await emit(closing(doc, p));
  } catch (error) {
    // What was committed must not go unnoticed because standard output is gone.
    if (doc.run) note(`run ${doc.run}: take it back with  unterbau undo ${doc.run}`);
    throw error;
  }
  return doc.exitCode;
}

async function whileRunning(options: CheckOptions, flags: CheckFlags): Promise<CheckDocument> {
  const { checkLive } = await import("../../usecases/check-live.ts");
  const { quiesce = false, scratch, via, snapshotSize } = flags;
  return checkLive({ ...options, quiesce, scratch, via, snapshotSize });
}

async function withShutdown(options: CheckOptions, flags: CheckFlags): Promise<CheckDocument> {
  // Loaded only here: guests are rarely checked in this way.
  const { checkGuests } = await import("../../usecases/check-guests.ts");
  return checkGuests({ ...options, shutdownTimeoutMs: flags.timeout * 1000, forceOff: flags.forceOff ?? false });
}

function closing(doc: CheckDocument, p: Palette): string {
  if (doc.run) return `\nrun ${p.bold(doc.run)}: take it back with  unterbau undo ${doc.run}\n`;
  if (doc.mode === "preview" && doc.volumes.some((v) => v.verdict === "would-repair")) {
    return "\nNothing was written. To commit exactly these repairs: the same command with --repair\n";
  }
  return "";
}
