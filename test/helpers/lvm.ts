import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { emptyDisk } from "./partition-tables.ts";
import { run } from "./programs.ts";

const ENV = {
  ...process.env,
  PATH: `${process.env.PATH}:/usr/sbin:/sbin`,
  LC_ALL: "C",
  LVM_SUPPRESS_FD_WARNINGS: "1",
};

/**
 * Runs the LVM tools on files through loop devices. They see these devices only, never activate anything and need no device-mapper.
 * Every instance must be disposed of: that frees the loop devices.
 */
export class LvmHost implements Disposable {
  readonly #folder: string;
  readonly #loops = new Map<string, string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes `name` a disk of `size` bytes, or takes the file that is there; its path. */
  disk(name: string, size?: number): string {
    const path = join(this.#folder, name);
    if (size !== undefined) emptyDisk(path, size);
    this.attach(path);
    return path;
  }

  attach(path: string): void {
    this.#loops.set(path, run("losetup", "--find", "--show", path).trim());
  }

  /** Frees the loop device; its buffers are written to the file. */
  detach(path: string): void {
    run("losetup", "--detach", this.loop(path));
    this.#loops.delete(path);
  }

  loop(path: string): string {
    const loop = this.#loops.get(path);
    if (loop === undefined) throw new Error(`${path} is not attached`);
    return loop;
  }

  /** Runs a tool with the paths of attached disks replaced by their loop devices; its standard output. */
  run(tool: string, ...args: string[]): string {
    const own = [...this.#loops.values()].map((loop) => `"a|^${loop}$|"`).join(",");
    const config = [
      "global{activation=0 event_activation=0}",
      `devices{use_devicesfile=0 scan=["/dev"] filter=[${own},"r|.*|"] hints="none" obtain_device_list_from_udev=0}`,
      'devices{external_device_info_source="none" global_filter=["a|.*|"]}',
      "backup{backup=0 archive=0} activation{udev_sync=0 udev_rules=0}",
    ].join(" ");
    const mapped = args.map((arg) => this.#loops.get(arg) ?? arg);
    const result = spawnSync(tool, [...mapped, "--config", config], { env: ENV, encoding: "utf8" });
    if (result.error) throw result.error;
    if (result.status !== 0) throw new Error(`${tool} ${mapped.join(" ")}: status ${result.status}: ${result.stderr}`);
    return result.stdout;
  }

  /** Creates an LV without touching its content. */
  lvcreate(...args: string[]): void {
    this.run("lvcreate", "-q", "-y", "-an", "-Zn", "-Wn", ...args);
  }

  /** One report as rows; sizes in bytes. Loop devices in values are put back to paths. */
  report(tool: "pvs" | "vgs" | "lvs", columns: string, ...args: string[]): { [column: string]: string }[] {
    const format = ["--reportformat", "json", "--units", "b", "--nosuffix"];
    let text = this.run(tool, ...format, "-o", columns, ...args);
    for (const [path, loop] of this.#loops) text = text.replaceAll(new RegExp(`${loop}(?!\\d)`, "g"), path);
    const parsed = JSON.parse(text) as { report: { [kind: string]: { [column: string]: string }[] }[] };
    return Object.values(parsed.report[0]!)[0]!;
  }

  [Symbol.dispose](): void {
    for (const path of [...this.#loops.keys()]) this.detach(path);
  }
}

/** One segment as `lvs` reports it. */
export interface ReportedSegment {
  /** Bytes. */
  readonly start: number;
  readonly size: number;
  readonly stripeSize: number;
  /** In stripe order; extents inclusive. */
  readonly ranges: readonly { readonly path: string; readonly first: number; readonly last: number }[];
}

/** Segments of all LVs by LV name, from `seg_pe_ranges`. */
export function reportedSegments(host: LvmHost, vg: string): Map<string, ReportedSegment[]> {
  const rows = host.report("lvs", "lv_name,seg_start,seg_size,stripe_size,seg_pe_ranges", "--segments", vg);
  const out = new Map<string, ReportedSegment[]>();
  for (const row of rows) {
    const ranges = row
      .seg_pe_ranges!.split(" ")
      .filter((text) => text !== "")
      .map((text) => {
        const [, path, first, last] = /^(.*):(\d+)-(\d+)$/.exec(text)!;
        return { path: path!, first: Number(first), last: Number(last) };
      });
    const segment = {
      start: Number(row.seg_start),
      size: Number(row.seg_size),
      stripeSize: Number(row.stripe_size),
      ranges,
    };
    out.set(row.lv_name!, [...(out.get(row.lv_name!) ?? []), segment]);
  }
  for (const segments of out.values()) segments.sort((a, b) => a.start - b.start);
  return out;
}
