import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { afterAll } from "vitest";
import type { BlockDevice } from "../../src/core/device.ts";
import { StorageError } from "../../src/core/errors.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import type { Layer, OpenContext } from "../../src/core/layer.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import { unlockEmbedded } from "../../src/layers/luks/embedded.ts";
import { qcow2Driver } from "../../src/layers/qcow2/driver.ts";

/** A temporary folder that is removed after the file's tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "unterbau-qcow2-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Exit status of `qemu-img check`: 0 clean, 2 corrupt, 3 leaks only; with its text. */
export function check(image: string): { status: number; text: string } {
  try {
    return { status: 0, text: run("qemu-img", "check", "-f", "qcow2", image) };
  } catch (error) {
    const e = error as { status: number; stdout: string; stderr: string };
    return { status: e.status, text: e.stdout + e.stderr };
  }
}

/** Bytes of an encrypted image as QEMU reads them with this passphrase, and its verdict on the image. */
export function qemuDecrypted(image: string, key: string): { bytes: Uint8Array; check: string } {
  const options = ["--object", `secret,id=s,data=${key}`, "--image-opts"];
  const source = `driver=qcow2,file.filename=${image},encrypt.format=luks,encrypt.key-secret=s`;
  const out = `${image}.raw`;
  run("qemu-img", "convert", ...options, source, "-O", "raw", out);
  const bytes = readFileSync(out);
  rmSync(out);
  return { bytes, check: run("qemu-img", "check", ...options, source) };
}

/** The disk's bytes as QEMU reads them; `snapshot` names an internal one. */
export function qemuBytes(image: string, snapshot?: string): Uint8Array {
  const out = `${image}.raw`;
  const from = snapshot === undefined ? [] : ["-l", `snapshot.name=${snapshot}`];
  run("qemu-img", "convert", "-f", "qcow2", ...from, "-O", "raw", image, out);
  const bytes = readFileSync(out);
  rmSync(out);
  return bytes;
}

/** Runs qemu-io commands on an image. */
export function qemuIo(image: string, ...commands: string[]): void {
  run("qemu-io", "-f", "qcow2", ...commands.flatMap((c) => ["-c", c]), image);
}

/** What opening an image needs beside the image. */
export interface Extra {
  readonly snapshot?: string;
  /** Passphrase of an encrypted image. */
  readonly key?: string;
}

export function context(
  folder: string,
  writable: boolean,
  limits: Partial<Limits> = {},
  { snapshot, key }: Extra = {},
): OpenContext {
  const secrets = key === undefined ? [] : [{ bytes: Buffer.from(key), origin: "test" }];
  const keys: OpenContext["keys"] = { secretsFor: async ({ attempt }) => (attempt === 1 ? secrets : []) };
  const self: OpenContext = {
    writable,
    keys,
    limits: { ...DEFAULT_LIMITS, ...limits },
    snapshot,
    openDataFile: async (reference) =>
      openFileDevice(isAbsolute(reference) ? reference : join(folder, reference), { writable }),
    unlockHeader: (header) => unlockEmbedded(header, self),
    async openImage(reference, format) {
      const path = isAbsolute(reference) ? reference : join(folder, reference);
      const file = openFileDevice(path);
      if (format === "raw") return file;
      const opened = await openOver(file, { ...self, writable: false, snapshot: undefined });
      return opened.disk;
    },
  };
  return self;
}

export interface OpenedImage extends AsyncDisposable {
  readonly layer: Layer;
  readonly disk: BlockDevice;
}

/** Opens a qcow2 over `file`; disposing closes disk, layer and file. */
export async function openOver(file: BlockDevice, ctx: OpenContext): Promise<OpenedImage> {
  const layer = await qcow2Driver.open([file], ctx);
  const child = layer.children[0];
  if (!child) throw new StorageError("unsupported", layer.locked?.reason ?? "no child");
  const disk = await child.open();
  return {
    layer,
    disk,
    async [Symbol.asyncDispose]() {
      await disk[Symbol.asyncDispose]();
      await layer[Symbol.asyncDispose]();
      await file[Symbol.asyncDispose]();
    },
  };
}

export function openImage(
  path: string,
  writable: boolean,
  limits: Partial<Limits> = {},
  extra: Extra = {},
): Promise<OpenedImage> {
  return openOver(openFileDevice(path, { writable }), context(join(path, ".."), writable, limits, extra));
}

/** Repeatable bytes that compress badly. */
export function noise(length: number, seed: number): Uint8Array {
  const out = new Uint8Array(length);
  let x = (seed * 2654435761) >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    out[i] = x & 0xff;
  }
  return out;
}

/** A raw file with the given bytes. */
export function rawFile(path: string, bytes: Uint8Array): string {
  writeFileSync(path, bytes);
  return path;
}
