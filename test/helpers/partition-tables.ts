import { execFileSync } from "node:child_process";
import { truncateSync, writeFileSync } from "node:fs";
import { run } from "./programs.ts";

/** Runs a program with `input` on its standard input; it must succeed. */
export function feed(input: string, program: string, ...args: string[]): void {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: "C" };
  execFileSync(program, args, { input, env, stdio: ["pipe", "ignore", "pipe"] });
}

/** A file of `size` zero bytes. */
export function emptyDisk(path: string, size: number): string {
  writeFileSync(path, "");
  truncateSync(path, size);
  return path;
}

/** One partition as partx (libblkid) reports it; all numbers in bytes except `number`. */
export interface PartxRow {
  readonly number: number;
  readonly start: number;
  readonly size: number;
  readonly type: string;
  readonly uuid: string;
  readonly name: string;
  readonly flags: string;
}

/** partx writes bytes beyond ASCII as `\\xNN` in the C locale; names are UTF-8. */
function unescaped(text: string): string {
  const bytes = text.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** What partx finds in an image; it gives 512-byte sectors whatever the table counts in. */
export function partx(path: string, sectorSize = 512): PartxRow[] {
  const columns = "NR,START,SECTORS,TYPE,UUID,NAME,FLAGS";
  const out = run("partx", "--sector-size", String(sectorSize), "--pairs", "--bytes", "-o", columns, path);
  return out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const value = new Map([...line.matchAll(/(\w+)="([^"]*)"/g)].map((m) => [m[1], m[2]!]));
      const get = (key: string) => value.get(key)!;
      return {
        number: Number(get("NR")),
        start: Number(get("START")) * 512,
        size: Number(get("SECTORS")) * 512,
        type: get("TYPE"),
        uuid: get("UUID"),
        name: unescaped(get("NAME")),
        flags: get("FLAGS"),
      };
    });
}
