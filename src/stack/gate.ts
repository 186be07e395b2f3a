import { realpathSync } from "node:fs";
import { dirname, isAbsolute, resolve, sep } from "node:path";
import { StorageError } from "../core/errors.ts";

/**
 * Decides whether a path that was found *inside* an image may be opened. A guest can write an image header onto its own raw disk
 * and name any file of the host in it, so nothing is allowed that does not lie below the image's own folder or a folder that the user named.
 */
export class PathGate {
  readonly #allowed: readonly string[];

  /** `allow`: folders from `--allow-path`. */
  constructor(allow: readonly string[] = []) {
    this.#allowed = allow.map((path) => real(resolve(path)) ?? resolve(path));
  }

  /**
   * The real path of `reference` as named in the image at `from`. Throws `gate` when it is outside, `io` when it is not there.
   * Symbolic links are followed before the decision.
   */
  resolve(reference: string, from: string, layer: string): string {
    return this.locate(reference, from, layer).real;
  }

  /**
   * `real`: what to open. `named`: the path before symbolic links are followed, from which the names inside that image start. As in QEMU
   * a relative name starts at the folder of the image's name; when nothing is there, at the folder of the file that this name leads to.
   */
  locate(reference: string, from: string, layer: string): { readonly real: string; readonly named: string } {
    const own = dirname(real(from) ?? resolve(from));
    const places = isAbsolute(reference)
      ? [reference]
      : [dirname(resolve(from)), own].map((f) => resolve(f, reference));
    const named = places.find((path) => real(path) !== null) ?? places[0]!;
    const actual = real(named);
    const decide = actual ?? resolve(named);
    if (!inside(decide, own) && !this.trusts(decide)) {
      throw new StorageError("gate", `the image names ${reference}, which lies outside its own folder`, {
        layer,
        hint: `if you trust this image, allow that folder: --allow-path ${dirname(decide)}`,
      });
    }
    if (actual === null) {
      throw new StorageError("io", `the image needs ${reference}, which is not there`, {
        layer,
        hint: `it was looked for as ${named}`,
      });
    }
    return { real: actual, named };
  }

  /** The user named a folder that this real path lies in. */
  trusts(path: string): boolean {
    return this.#allowed.some((folder) => inside(path, folder));
  }
}

function real(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

function inside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}
