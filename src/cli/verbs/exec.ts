import { grouped } from "../../report/units.ts";
import { exec } from "../../usecases/exec.ts";
import type { ExecFlags } from "../options.ts";
import { note } from "../output.ts";
import { type Session, sourceOptions } from "../session.ts";

/** The tool owns stdin, stdout and stderr; what we have to say goes to stderr afterwards. Ends with the tool's exit code. */
export async function run(sources: readonly string[], flags: ExecFlags, session: Session): Promise<number> {
  using keys = session.keys(flags);
  const { volume, command } = flags;
  const write = flags.write ?? false;
  const result = await exec({
    ...sourceOptions(sources, flags, keys, session),
    volume,
    command,
    write,
    force: flags.force ?? false,
  });
  if (result.run) {
    note(
      `run ${result.run}: ${grouped(result.changedBytes)} bytes changed; take it back with  unterbau undo ${result.run}`,
    );
  } else if (result.changedBytes > 0) {
    const why = write ? `the tool ended with ${result.exitCode}; --force commits all the same` : "--write commits them";
    note(`${grouped(result.changedBytes)} bytes were changed on the overlay and are thrown away (${why})`);
  }
  return result.exitCode;
}
