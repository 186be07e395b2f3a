import { readFileSync } from "node:fs";
import { brotliDecompressSync } from "node:zlib";
import type { BlockDevice } from "../../src/core/device.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";

/** A set of physical volumes that a Linux kernel wrote, and what its device-mapper gave as each volume's content. */
export interface LvmFixture {
  /** Whole disks by name, in order; new memory each time the fixture is read. */
  readonly disks: ReadonlyMap<string, Uint8Array>;
  readonly volumes: readonly { readonly name: string; readonly size: number; readonly sha256: string }[];
}

const FOLDER = new URL("../fixtures/lvm/", import.meta.url);

/** `name`: a folder of test/fixtures/lvm. */
export function lvmFixture(name: string): LvmFixture {
  const { disks, volumes } = JSON.parse(fixtureText(name, "truth.json")) as {
    disks: string[];
    volumes: LvmFixture["volumes"];
  };
  const read = (disk: string) => brotliDecompressSync(readFileSync(new URL(`${name}/${disk}.raw.br`, FOLDER)));
  return { disks: new Map(disks.map((disk) => [disk, read(disk)])), volumes };
}

export function fixtureText(name: string, file: string): string {
  return readFileSync(new URL(`${name}/${file}`, FOLDER), "utf8");
}

/** Devices over the fixture's disks, without those named. */
export function fixtureDevices(fixture: LvmFixture, without: readonly string[] = []): BlockDevice[] {
  return [...fixture.disks].filter(([name]) => !without.includes(name)).map(([, bytes]) => memoryDevice(bytes));
}
