import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { deviceConformance } from "../conformance/suite.ts";
import { noise, openImage, qemuDecrypted, rawFile, run, temporaryFolder } from "./qcow2-tools.ts";

const folder = temporaryFolder();
const SIZE = 1024 * 1024 + 512;
const KEY = "pass phrase";
const SECRET = ["--object", `secret,id=s,data=${KEY}`];
const raw = rawFile(join(folder, "source.raw"), noise(SIZE, 77));

/** Empty images by their options: QEMU takes seconds to make one, for it measures how fast PBKDF2 is. */
const made = new Map<string, Buffer>();

function create(image: string, options: string, backing: readonly string[]): void {
  const key = [options, ...backing].join(" ");
  const there = made.get(key);
  if (there) {
    writeFileSync(image, there);
    return;
  }
  const o = ["encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", options].filter(Boolean).join();
  // On a busy machine it sometimes cannot measure that at all, and gives up.
  for (let attempt = 1; ; attempt++) {
    try {
      run("qemu-img", "create", "-q", ...SECRET, "-f", "qcow2", "-o", o, ...backing, image, String(SIZE));
      break;
    } catch (error) {
      if (attempt === 20 || !String(error).includes("accurate CPU usage")) throw error;
    }
  }
  made.set(key, readFileSync(image));
}

/** An image encrypted by QEMU, with the noise, or empty. */
function encrypted(name: string, options: string, empty = false, backing: readonly string[] = []): string {
  const image = join(folder, `${name}.qcow2`);
  create(image, options, backing);
  if (!empty) {
    const target = `driver=qcow2,file.filename=${image},encrypt.format=luks,encrypt.key-secret=s`;
    run("qemu-img", "convert", "-n", ...SECRET, "-f", "raw", "--target-image-opts", raw, target);
  }
  return image;
}

describe("LUKS inside qcow2", () => {
  it.each([
    ["small", "cluster_size=4096"],
    [
      "subclusters-cbc-essiv",
      "extended_l2=on,cluster_size=16k,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256",
    ],
  ])("reads what QEMU wrote, and QEMU reads what was written here: %s", async (name, options) => {
    const image = encrypted(name, options);
    const model = Uint8Array.from(readFileSync(raw));
    const opened = await openImage(image, true, {}, { key: KEY });
    expect(opened.layer.info.details).toMatchObject({ encryption: "LUKS", luks: { type: "luks1" } });
    expect(Buffer.compare(await readBytes(opened.disk, 0, SIZE), model)).toBe(0);
    for (const [at, length] of [
      [100, 5000],
      [65_000, 70_000],
      [SIZE - 700, 700],
    ] as const) {
      const bytes = noise(length, at + 1);
      await opened.disk.write(bytes, at);
      model.set(bytes, at);
    }
    await opened.disk.zero(300_000, 200_001);
    model.fill(0, 300_000, 500_001);
    await opened[Symbol.asyncDispose]();
    const qemu = qemuDecrypted(image, KEY);
    expect(Buffer.compare(qemu.bytes, model)).toBe(0);
    expect(qemu.check).toContain("No errors were found");
  });

  it("writes no plaintext, also not what comes from the backing file", async () => {
    const base = rawFile(join(folder, "base.raw"), Buffer.alloc(SIZE, "the secret of the base "));
    const aes128 = "encrypt.cipher-alg=aes-128,encrypt.hash-alg=sha512,encrypt.ivgen-alg=plain";
    const image = encrypted("overlay", `cluster_size=4096,${aes128}`, true, ["-b", base, "-F", "raw"]);
    const opened = await openImage(image, true, {}, { key: KEY });
    await opened.disk.write(Buffer.alloc(10_000, "a secret of the guest "), 5000);
    await opened[Symbol.asyncDispose]();
    expect(readFileSync(image).includes("secret of the")).toBe(false);
    const model = Uint8Array.from(readFileSync(base));
    model.set(Buffer.alloc(10_000, "a secret of the guest "), 5000);
    expect(Buffer.compare(qemuDecrypted(image, KEY).bytes, model)).toBe(0);
  });

  it("stays locked without a key and with a wrong one, and says so", async () => {
    const image = encrypted("locked", "cluster_size=4096", true);
    await expect(openImage(image, false)).rejects.toThrow("no key was given");
    await expect(openImage(image, false, {}, { key: "wrong" })).rejects.toThrow("opens no keyslot");
  });

  it("refuses QEMU's old AES encryption by name", async () => {
    const image = join(folder, "aes.qcow2");
    run("qemu-img", "create", "-q", "-f", "qcow2", image, "1M");
    // QEMU creates such images no more: crypt_method 1 of the header is all that tells them.
    const bytes = readFileSync(image);
    bytes.writeUInt32BE(1, 32);
    rawFile(image, bytes);
    await expect(openImage(image, false)).rejects.toThrow(/legacy AES-CBC/);
  });
});

let n = 0;
deviceConformance(
  "qcow2 with LUKS",
  async () => {
    const image = encrypted(`conf${n++}`, "cluster_size=4096");
    const opened = await openImage(image, true, {}, { key: KEY });
    return {
      device: opened.disk,
      content: readFileSync(raw),
      reopen: async () => (await openImage(image, false, {}, { key: KEY })).disk,
      cleanup: async () => opened[Symbol.asyncDispose](),
    };
  },
  { runs: 30 },
);
