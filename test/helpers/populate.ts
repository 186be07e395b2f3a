import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setAttribute } from "./ext.ts";
import { run } from "./programs.ts";

/** Repeatable bytes that no compression or zero detection mistakes for holes. */
export function noise(length: number, seed: number): Uint8Array {
  const out = new Uint8Array(length);
  let x = seed;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    out[i] = x >>> 16;
  }
  return out;
}

/** Files of every kind, made through the kernel's own file system. */
export function populate(root: string, largest = 2_000_000): void {
  const names = 300;
  const at = (name: string) => join(root, name);
  writeFileSync(at("empty"), "");
  for (const size of [1, 59, 60, 61, 100, 150, 160, 200, 1023, 1024, 1025, 4096, 65536, 300_001])
    writeFileSync(at(`file-${size}`), noise(size, size));
  const sparse = openSync(at("sparse"), "w");
  // Through all levels of indirect pointers of 1 KiB blocks.
  for (const offset of [0, 11 << 10, 12 << 10, 268 << 10, 300 << 10].concat(
    largest > 70_000 << 10 ? [66_000 << 10, 70_000 << 10] : [],
  ))
    writeSync(sparse, noise(3000, offset % 977), 0, 3000, offset);
  ftruncateSync(sparse, largest);
  closeSync(sparse);
  // Every other block: many extents, so that the tree has levels.
  const holes = openSync(at("holes"), "w");
  for (let i = 0; i < 700; i++) writeSync(holes, noise(100, i + 1), 0, 100, i * 16384);
  closeSync(holes);
  mkdirSync(at("many"));
  for (let i = 0; i < names; i++)
    writeFileSync(at(`many/a name that is long enough to fill blocks ${i}`), i % 50 === 0 ? String(i) : "");
  let deep = at("deep");
  for (let i = 0; i < 30; i++) {
    mkdirSync(deep);
    deep = join(deep, `level ${i}`);
  }
  mkdirSync(at("small"));
  for (const name of ["a", "bb", "ccc"]) writeFileSync(at(`small/${name}`), name);
  writeFileSync(at(`${"n".repeat(255)}`), "long");
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0xfe, 0x0a, 0x1b, 0x5b])]), "bytes");
  symlinkSync("file-100", at("link"));
  symlinkSync("x".repeat(59), at("link-59"));
  symlinkSync("x".repeat(60), at("link-60"));
  symlinkSync("y/".repeat(500), at("link-1000"));
  symlinkSync("/small/../small", at("to-small"));
  symlinkSync("loop", at("loop"));
  linkSync(at("file-1025"), at("hard link"));
  run("mkfifo", at("fifo"));
  run("mknod", at("char"), "c", "5", "1");
  run("mknod", at("block"), "b", "259", "70000");
  chmodSync(at("file-59"), 0o4751);
  chownSync(at("file-60"), 70_000, 80_000);
  chmodSync(at("small"), 0o1770);
  utimesSync(at("file-61"), -1000, 4_000_000_000);
  utimesSync(at("file-1"), 12.25, 1_600_000_000.123);
  setAttribute(at("file-100"), "user.note", noise(30, 5));
  setAttribute(at("small"), "user.big", noise(700, 6));
  setAttribute(at("small"), "trusted.t", noise(3, 6));
  setAttribute(at("file-4096"), "security.other", noise(90, 8));
  const acl =
    "0200000001000600ffffffff020007007011010004000400ffffffff080005008a020000" + "10000700ffffffff20000000ffffffff";
  setAttribute(at("file-1024"), "system.posix_acl_access", Uint8Array.from(Buffer.from(acl, "hex")));
  setAttribute(at("small"), "system.posix_acl_default", Uint8Array.from(Buffer.from(acl, "hex")));
}
