import { spawn } from "node:child_process";
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { crc32 } from "../../src/bytes/crc.ts";
import { limitsFrom } from "../../src/cli/options.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { parseText, TextTooLarge } from "../../src/layers/lvm/text.ts";
import { CLI, must } from "../helpers/cli.ts";
import { luks1Image, luks2Image } from "../helpers/luks.ts";
import { metadataText, pvImage } from "../helpers/lvm-image.ts";

/** Headers that ask for more memory or time than anybody has: each ends soon, in little memory, and names its limit. */
const MEMORY = 256 * 1024 * 1024;
const SECONDS = 10;
const GIB = 1024 ** 3;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-bombs-"));
  writeFileSync(join(folder, "key"), "secret");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, bytes: Uint8Array, size = bytes.length): string {
  const path = join(folder, name);
  const fd = openSync(path, "w");
  writeSync(fd, bytes);
  ftruncateSync(fd, size);
  closeSync(fd);
  return path;
}

interface Cost {
  readonly output: string;
  /** Processor time, and the most memory that was in use. */
  readonly seconds: number;
  readonly bytes: number;
}

/** Runs the command line and watches what it takes, as /proc tells it. */
function measured(...args: string[]): Promise<Cost> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [CLI, ...args], { env: { ...process.env, UNTERBAU_STATE_DIR: folder } });
    let output = "";
    let [bytes, seconds] = [0, 0];
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const look = (): void => {
      try {
        const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
        bytes = Math.max(bytes, 1024 * Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0));
        const stat = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
        seconds = (Number(stat[11]) + Number(stat[12])) / 100;
      } catch {
        // It has ended.
      }
    };
    const clock = setInterval(look, 10);
    child.on("close", () => {
      clearInterval(clock);
      resolve({ output, seconds, bytes });
    });
  });
}

async function harmless(path: string, limit: string | RegExp, ...flags: string[]): Promise<void> {
  for (const verb of ["inspect", "check"]) {
    const { output, seconds, bytes } = await measured(verb, path, ...flags);
    expect(output).toMatch(limit instanceof RegExp ? limit : new RegExp(`--limit ${limit}=`));
    expect(output).not.toMatch(/^\s+at /m);
    expect(seconds).toBeLessThan(SECONDS);
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(MEMORY);
  }
}

const argon2 = (changes: object): Uint8Array =>
  luks2Image({
    change: (json) => {
      const salt = json.keyslots["0"].kdf.salt;
      json.keyslots["0"].kdf = { type: "argon2id", time: 4, memory: 1024, cpus: 1, salt, ...changes };
    },
  });

/** A qcow2 of QEMU with a 32-bit field of its header changed, in a sparse file large enough for the table. */
async function qcow2(name: string, at: number, value: number): Promise<string> {
  const path = join(folder, name);
  await must("qemu-img", ["create", "-q", "-f", "qcow2", path, "1M"]);
  const bytes = readFileSync(path);
  bytes.writeUInt32BE(value, at);
  return file(name, bytes, 64 * GIB);
}

describe("a header that asks for too much", () => {
  it("memory for Argon2", () =>
    harmless(
      file("a.luks", argon2({ memory: 4 * 1024 * 1024 })),
      "argon2MemoryKiB",
      "--key-file",
      join(folder, "key"),
    ));
  it("passes of Argon2", () =>
    harmless(file("b.luks", argon2({ time: 2 ** 31 })), "argon2Work", "--key-file", join(folder, "key")));
  it("lanes of Argon2", () =>
    harmless(file("c.luks", argon2({ cpus: 4096, memory: 65536 })), "argon2Lanes", "--key-file", join(folder, "key")));
  it("iterations of PBKDF2 in LUKS2 and LUKS1", async () => {
    const two = luks2Image({
      change: (json) => void Object.assign(json.keyslots["0"].kdf, { iterations: 2 ** 31 - 1 }),
    });
    await harmless(file("d.luks", two), "pbkdf2Iterations", "--key-file", join(folder, "key"));
    const one = luks1Image({ change: (header) => header.setUint32(208 + 4, 0xffff_ffff) });
    await harmless(file("e.luks", one), "pbkdf2Iterations", "--key-file", join(folder, "key"));
    const digest = luks1Image({ change: (header) => header.setUint32(164, 0xffff_ffff) });
    await harmless(file("f.luks", digest), "pbkdf2Iterations", "--key-file", join(folder, "key"));
  });
  it("an L1 table of qcow2", async () => harmless(await qcow2("l1.qcow2", 36, 0x1000_0000), "qcow2L1Bytes"));
  it("a refcount table of qcow2", async () =>
    harmless(await qcow2("refcounts.qcow2", 56, 0x1_0000), "qcow2RefcountTableBytes"));
  it("snapshots of qcow2", async () => harmless(await qcow2("snapshots.qcow2", 60, 0xffff_ffff), "qcow2Snapshots"));
  it("GPT entries", async () => {
    const path = file("gpt.img", new Uint8Array(0), 64 * GIB);
    await must("sgdisk", ["-n", "1:2048:+1M", path]);
    const bytes = Buffer.alloc(1024 * 1024);
    const fd = openSync(path, "r");
    readSync(fd, bytes, 0, bytes.length, 0);
    closeSync(fd);
    // NumberOfPartitionEntries, then the header's own checksum.
    bytes.writeUInt32LE(0x1000_0000, 512 + 80);
    bytes.writeUInt32LE(0, 512 + 16);
    bytes.writeUInt32LE(crc32(bytes.subarray(512, 604)), 512 + 16);
    await harmless(file("gpt2.img", bytes, 64 * GIB), "gptEntryBytes");
  });
  it("segments of LVM", () => {
    const text = metadataText('big { id = "big" status = ["READ", "VISIBLE"] segment_count = 4000000000 }');
    return harmless(file("segments.img", pvImage(text)), /segment/);
  });
});

describe("texts of LVM metadata that fill 16 MiB", () => {
  const fill = (part: (i: number) => string): string => {
    const parts: string[] = [];
    for (let i = 0, length = 0; length < 16 * 1024 * 1024; i++) {
      parts.push(part(i));
      length += parts[i]!.length;
    }
    return parts.join("");
  };

  it.each<[string, () => string]>([
    ["sections", () => fill((i) => `a${i}{}`)],
    ["values", () => fill((i) => `a${i}=1 `)],
    ["lists", () => fill((i) => `a${i}=[]`)],
    ["list elements", () => `a=[${fill(() => "1,")}1]`],
  ])("of %s", (_what, text) => {
    const whole = text();
    expect(() => parseText(whole, DEFAULT_LIMITS.lvmValues)).toThrow(TextTooLarge);
  });
});

describe("layers without end", () => {
  /** Each partition table's partitions begin in the next sector, so that `fanOut` of them hold the same table again. */
  function nested(levels: number, fanOut: number): Uint8Array {
    const disk = Buffer.alloc(512 * (levels + 2048));
    for (let level = 0; level < levels; level++) {
      const at = 512 * level;
      for (let i = 0; i < fanOut; i++) {
        disk[at + 446 + 16 * i + 4] = 0x83;
        disk.writeUInt32LE(1 + i, at + 446 + 16 * i + 8);
        disk.writeUInt32LE(fanOut === 1 ? levels + 2046 - level : 1024 - level, at + 446 + 16 * i + 12);
      }
      disk.writeUInt16LE(0xaa55, at + 510);
    }
    return disk;
  }

  it("one in another", () => harmless(file("deep.img", nested(200, 1)), "nestingDepth"));
  it("four in each, overlapping", async () => {
    const { output, seconds, bytes } = await measured("inspect", file("wide.img", nested(64, 4)));
    expect(output).toMatch(/overlap|--limit (nodes|nestingDepth)=/);
    expect(seconds).toBeLessThan(SECONDS);
    expect(bytes).toBeLessThan(MEMORY);
  });
});

describe("every limit", () => {
  const sources = readdirSync("src", { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts") && name !== "core/limits.ts")
    .map((name) => readFileSync(join("src", name), "utf8"))
    .join("\n");
  const names = Object.keys(DEFAULT_LIMITS);

  it.each(names)("%s can be raised, and an error says so", (name) => {
    expect(limitsFrom([`${name}=12345`])).toMatchObject({ [name]: 12345 });
    // By withinLimit(), whose hint names it, or by a hint of its own.
    expect(sources).toMatch(new RegExp(`"${name}"|--limit ${name}\\b`));
  });

  it("that a hint names is there", () => {
    for (const [, name] of sources.matchAll(/--limit ([a-z]\w+)=/g)) expect(names).toContain(name);
  });

  it("that is not there is refused with the names of those that are", () => {
    expect(() => limitsFrom(["nothing=1"])).toThrow(/not understood/);
  });
});
