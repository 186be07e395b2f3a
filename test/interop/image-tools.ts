import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { type BlockDevice, readBytes } from "../../src/core/device.ts";
import { StorageError } from "../../src/core/errors.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import type { ImageFormat, Layer } from "../../src/core/layer.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import { PathGate } from "../../src/stack/gate.ts";
import { imageContext, imageDriver } from "../../src/stack/images.ts";

/** A temporary folder that is removed after the file's tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "unterbau-images-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** A raw file with noise at some places, in its last bytes too, and zeros elsewhere. The same every time. */
export function sparseNoise(path: string, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let x = 0x2545f491;
  const next = (): number => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
  const noise = (start: number, end: number) => {
    for (let i = start; i < end; i++) bytes[i] = next() & 0xff;
  };
  for (let i = 0; i < 24; i++) {
    const start = next() % size;
    noise(start, Math.min(size, start + (next() % 90_000)));
  }
  noise(0, 700);
  noise(size - 700, size);
  writeFileSync(path, bytes);
  return bytes;
}

/** The disk's bytes as QEMU reads them. */
export function qemuBytes(image: string, format: string): Uint8Array {
  const out = `${image}.out`;
  run("qemu-img", "convert", "-f", format, "-O", "raw", image, out);
  const bytes = readFileSync(out);
  rmSync(out);
  return bytes;
}

export interface OpenedImage extends AsyncDisposable {
  readonly layer: Layer;
  /** Throws what the layer says when it is locked. */
  readonly disk: BlockDevice;
}

export interface OpenOptions {
  readonly writable?: boolean;
  readonly limits?: Partial<Limits>;
  readonly allow?: readonly string[];
}

/** The layer of an image, opened as the stack opens it: what it names goes through the path gate. */
export async function openLayer(
  file: BlockDevice,
  format: ImageFormat,
  path: string | null,
  options: OpenOptions = {},
): Promise<Layer> {
  const context = imageContext(
    {
      writable: options.writable ?? false,
      keys: { secretsFor: async () => [] },
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      gate: new PathGate(options.allow),
      openFile: async (name) => openFileDevice(name),
    },
    { path, layer: format, depth: 0 },
  );
  return imageDriver(format).open([file], context);
}

/** Opens an image of this format; disposing closes disk, layer and file. */
export async function openImage(path: string, format: ImageFormat, options: OpenOptions = {}): Promise<OpenedImage> {
  const file = openFileDevice(path);
  const layer = await openLayer(file, format, path, options);
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

/** The disk in the image is what `expected` says, read whole, in odd pieces, and by its extents. Returns how many bytes its extents call data. */
export async function sameContent(path: string, format: ImageFormat, expected: Uint8Array): Promise<number> {
  const opened = await openImage(path, format);
  expect(opened.disk.size).toBe(expected.length);
  expect(opened.layer.info.details.virtualSize).toBe(expected.length);
  expect(Buffer.compare(await readBytes(opened.disk, 0, expected.length), expected)).toBe(0);
  for (let at = 333; at < expected.length; at += 298_765) {
    const length = Math.min(170_001, expected.length - at);
    expect(Buffer.compare(await readBytes(opened.disk, at, length), expected.subarray(at, at + length))).toBe(0);
  }
  let data = 0;
  for await (const e of opened.disk.extents(0, expected.length)) {
    if (e.kind === "data") data += e.length;
    else expect(expected.subarray(e.offset, e.offset + e.length).every((b) => b === 0)).toBe(true);
  }
  await opened[Symbol.asyncDispose]();
  return data;
}
