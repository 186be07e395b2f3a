import { programFailed, runProgram } from "./run-program.ts";

/** diff(1), "Exit status": the texts differ. */
const DIFFERENT = 1;

/** What `diff -u` says of a file that is to get this text; `path` is the file's name in it, `file` where it is. Empty: nothing changes. */
export async function unifiedDiff(path: string, file: string, text: string): Promise<string> {
  const args = ["-u", `--label=${path}`, `--label=${path}`, "--", file, "-"];
  const result = await runProgram("diff", args, { input: Buffer.from(text), packageName: "diffutils" });
  if (result.code !== 0 && result.code !== DIFFERENT) throw programFailed("diff", result);
  return result.stdout;
}
