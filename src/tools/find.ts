import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Administrators' programs live here even where an ordinary user's PATH does not say so (Debian). */
const SYSTEM_DIRS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** The absolute path of an installed program, or null. Looks in `searchPath` ($PATH), then in the system's own directories. */
export function findProgram(
  name: string,
  searchPath = process.env.PATH ?? "",
  systemDirs: readonly string[] = SYSTEM_DIRS,
): string | null {
  if (name.includes("/")) return isExecutable(name) ? realpathSync(name) : null;
  // A relative element of PATH would let the current directory choose the program.
  const dirs = [...searchPath.split(delimiter).filter((d) => d.startsWith("/")), ...systemDirs];
  for (const dir of dirs) {
    const path = join(dir, name);
    if (isExecutable(path)) return path;
  }
  return null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
