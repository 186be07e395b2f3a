import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./programs.ts";

/**
 * LVM's tools with a configuration of their own: they see these loop devices only, and volumes are made in the metadata, never activated.
 * For programs that call LVM themselves: `env` is what makes them see the same.
 */
export class PrivateLvm implements Disposable {
  readonly env: Record<string, string>;
  readonly #folder: string;
  readonly #loops: string[] = [];

  constructor(folder: string) {
    this.#folder = join(folder, "lvm");
    mkdirSync(this.#folder, { recursive: true });
    this.env = { LVM_SYSTEM_DIR: this.#folder, LVM_SUPPRESS_FD_WARNINGS: "1" };
    this.#configure();
  }

  /** A new physical volume's device, over a sparse file. */
  disk(name: string, size: string): string {
    const path = join(this.#folder, name);
    run("truncate", "-s", size, path);
    const loop = run("losetup", "--find", "--show", path).trim();
    this.#loops.push(loop);
    this.#configure();
    return loop;
  }

  /** The device is gone for LVM and for the kernel. */
  take(loop: string): void {
    this.#loops.splice(this.#loops.indexOf(loop), 1);
    run("losetup", "--detach", loop);
    this.#configure();
  }

  /** Standard output of a tool, without the word that nothing is activated. */
  run(tool: string, ...args: string[]): string {
    return run("env", ...Object.entries(this.env).map(([k, v]) => `${k}=${v}`), tool, ...args);
  }

  /** One report as rows; sizes in bytes. */
  rows(tool: "pvs" | "vgs" | "lvs", columns: string, ...args: string[]): Record<string, string>[] {
    const format = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", columns];
    const parsed = JSON.parse(this.run(tool, ...format, ...args)) as { report: Record<string, object[]>[] };
    return parsed.report.flatMap((part) => Object.values(part).flat()) as Record<string, string>[];
  }

  [Symbol.dispose](): void {
    for (const loop of this.#loops) run("losetup", "--detach", loop);
  }

  #configure(): void {
    const own = this.#loops.map((loop) => `"a|^${loop}$|"`);
    const lines = [
      "global { activation=0 event_activation=0 }",
      `devices { use_devicesfile=0 scan=["/dev"] filter=[${[...own, '"r|.*|"'].join(",")}] hints="none" obtain_device_list_from_udev=0 }`,
      'devices { external_device_info_source="none" global_filter=["a|.*|"] }',
      "backup { backup=0 archive=0 }",
      "activation { udev_sync=0 udev_rules=0 }",
    ];
    writeFileSync(join(this.#folder, "lvm.conf"), `${lines.join("\n")}\n`);
  }
}
