import type { SourceOptions } from "../usecases/source-options.ts";
import { Keys } from "./keys.ts";
import { limitsFrom, type SourceFlags } from "./options.ts";
import { note } from "./output.ts";

/** One invocation: its abort signal and what verbs share. */
export interface Session {
  readonly signal: AbortSignal;
  keys(flags: SourceFlags): Keys;
}

export function newSession(signal: AbortSignal): Session {
  return {
    signal,
    keys: (flags) => new Keys({ keyFile: flags.keyFile, keyFd: flags.keyFd, prompt: flags.prompt }),
  };
}

/** What the use cases want to know of the source flags. */
export function sourceOptions(
  sources: readonly string[],
  flags: SourceFlags,
  keys: Keys,
  session: Session,
): SourceOptions {
  const { format, allowPath, inside, insideFormat, header, snapshot, connect, iKnow } = flags;
  return {
    sources,
    keys,
    format,
    allowPath,
    inside,
    insideFormat,
    header,
    snapshot,
    connect,
    iKnow,
    limits: limitsFrom(flags.limit),
    signal: session.signal,
    note,
  };
}
