import { createRequire, syncBuiltinESMExports } from "node:module";

/** A change of a file in the order in which it was asked for; `data` is base64. */
export type Change =
  | { readonly what: "write"; readonly path: string; readonly position: number; readonly data: string }
  | { readonly what: "truncate"; readonly path: string; readonly size: number }
  | { readonly what: "sync"; readonly path: string }
  | { readonly what: "rename"; readonly path: string; readonly to: string };

type Call = (...args: unknown[]) => unknown;

/** Notes every change of a file that this process makes from now on. */
export function traceChanges(): Change[] {
  const fs = createRequire(import.meta.url)("node:fs") as Record<string, Call>;
  const changes: Change[] = [];
  const paths = new Map<number, string>();
  const wrap = <A extends readonly unknown[], R>(name: string, note: (args: A, result: R) => void) => {
    const original = fs[name]!;
    fs[name] = (...args) => {
      const result = original(...args);
      note(args as unknown as A, result as R);
      return result;
    };
  };
  wrap("openSync", ([path, flags]: [string, number], fd: number) => {
    paths.set(fd, path);
    if (typeof flags === "number" && (flags & 0o1000) !== 0) changes.push({ what: "truncate", path, size: 0 });
  });
  wrap("writeSync", ([fd, bytes, from, , position]: [number, Uint8Array, number, number, number], n: number) => {
    const data = Buffer.from(bytes.subarray(from, from + n)).toString("base64");
    changes.push({ what: "write", path: paths.get(fd)!, position, data });
  });
  wrap("writeFileSync", ([fd, text]: [number, string]) => {
    changes.push({ what: "write", path: paths.get(fd)!, position: 0, data: Buffer.from(text).toString("base64") });
  });
  wrap("ftruncateSync", ([fd, size]: [number, number]) => {
    changes.push({ what: "truncate", path: paths.get(fd)!, size });
  });
  for (const name of ["fsyncSync", "fdatasyncSync"]) {
    wrap(name, ([fd]: [number]) => {
      changes.push({ what: "sync", path: paths.get(fd)! });
    });
  }
  wrap("renameSync", ([path, to]: [string, string]) => {
    changes.push({ what: "rename", path, to });
  });
  syncBuiltinESMExports();
  return changes;
}
