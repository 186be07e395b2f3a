import { StringDecoder } from "node:string_decoder";
import { printableLines } from "../../report/units.ts";
import { catFile } from "../../usecases/cat-file.ts";
import type { FilesFlags } from "../options.ts";
import { emit, isTerminal, STDOUT } from "../output.ts";
import { type Session, sourceOptions } from "../session.ts";
import { withPath } from "./paths.ts";

export async function run(named: readonly string[], flags: FilesFlags, session: Session): Promise<number> {
  using keys = session.keys(flags);
  const { sources, path } = withPath(named, 1);
  // A guest's file may hold sequences that command a terminal; into a file or a pipe the bytes go as they are.
  const decoder = isTerminal(STDOUT) ? new StringDecoder("utf8") : null;
  await catFile({ ...sourceOptions(sources, flags, keys, session), volume: flags.volume, path }, (bytes) =>
    emit(decoder ? printableLines(decoder.write(Buffer.from(bytes))) : bytes),
  );
  return 0;
}
