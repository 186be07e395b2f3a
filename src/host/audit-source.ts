import type { FileStat } from "../audit/model.ts";

/** What a program wrote, as it wrote it. */
export interface RawCommand {
  /** 124: it did not end in time, as of timeout(1). */
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
  /** First line of what it says of its version. */
  readonly version: string | null;
}

export type RawFile =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly reason: string };

/** Where an audit's facts come from: this host, or a tree. Nothing throws for what is not there; only a cancelled run does. */
export interface HostSource {
  readonly recorded: boolean;
  /** Null: the program is not installed, or what it said was not recorded. */
  run(argv: readonly string[]): Promise<RawCommand | null>;
  file(path: string): Promise<RawFile>;
  /** Sorted names; null: no folder, or not to be read. */
  list(path: string): Promise<readonly string[] | null>;
  stat(path: string): Promise<FileStat | null>;
  head(path: string, length: number): Promise<Uint8Array | null>;
  real(path: string): Promise<string | null>;
}

/** Configuration is pages of text; what is larger is none. */
export const MAX_FILE = 4 * 1024 * 1024;
/** More names than a folder of configuration or images has. */
export const MAX_NAMES = 100_000;
/** Magic numbers and labels are at the start. */
export const MAX_HEAD = 128 * 1024;
