import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CheckDocument } from "../../src/usecases/documents.ts";
import { CLI, must, run, unterbau } from "../helpers/cli.ts";
import { copyOf, cutOut, damage, fileSize, type Guest, makeGuest, sha256File, toLuks1 } from "../helpers/guest.ts";

const TIME = { E2FSCK_TIME: "1800000000", E2FSPROGS_FAKE_TIME: "1800000000" };

describe("images of every shape", () => {
  let folder: string;
  let env: Record<string, string>;
  let guest: Guest;
  let raw: string;
  let repaired: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "unterbau-images-"));
    env = { UNTERBAU_STATE_DIR: join(folder, "state"), ...TIME };
    guest = await makeGuest(folder, "mbr-ext4");
    raw = guest.disks[0]!;
    await damage(raw, guest.root.offset);
    const plain = join(folder, "plain");
    cutOut(raw, guest.root.offset, guest.root.size, plain);
    await run("e2fsck", ["-fy", plain], { env: TIME });
    repaired = await sha256File(plain);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const path = (name: string) => join(folder, name);
  const content = async (image: string, ...options: string[]) => {
    await must("qemu-img", ["convert", ...options, "-O", "raw", image, path("whole")]);
    return sha256File(path("whole"));
  };

  /** Preview, repair, comparison with e2fsck and QEMU, undo. `others`: files that nothing may change. */
  async function trial(image: string, others: readonly string[] = []): Promise<void> {
    const before = await Promise.all([image, ...others].map(sha256File));
    expect((await unterbau(["check", image], { env })).code).toBe(4);
    expect(await Promise.all([image, ...others].map(sha256File))).toEqual(before);
    const r = await unterbau(["check", image, "--repair", "--json"], { env });
    expect(r.code).toBe(1);
    await must("qemu-img", ["check", "-q", image]);
    await content(image);
    cutOut(path("whole"), guest.root.offset, guest.root.size, path("part"));
    expect(await sha256File(path("part"))).toBe(repaired);
    expect(await Promise.all(others.map(sha256File))).toEqual(before.slice(1));
    const { run: id } = JSON.parse(r.stdout.toString()) as CheckDocument;
    expect((await unterbau(["undo", id!], { env })).code).toBe(0);
    expect(await sha256File(image)).toBe(before[0]);
  }

  it("an overlay over a raw image, and one over a chain: only the top is written", async () => {
    const [mid, top, other] = [path("mid.qcow2"), path("top.qcow2"), path("other.qcow2")];
    await must("qemu-img", ["create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", mid]);
    await must("qemu-img", ["create", "-q", "-f", "qcow2", "-b", mid, "-F", "qcow2", top]);
    await trial(top, [mid, raw]);
    await must("qemu-img", ["convert", "-O", "qcow2", "-o", "cluster_size=4096", raw, other]);
    await must("qemu-img", ["create", "-q", "-f", "qcow2", "-b", other, "-F", "qcow2", mid]);
    // What lies on it would no longer fit.
    const below = await unterbau(["check", mid, "--repair"], { env });
    expect([below.code, below.stderr]).toEqual([8, expect.stringContaining("top.qcow2")]);
    rmSync(top);
    await trial(mid, [other]);
  });

  it.each(["zlib", "zstd"])("clusters compressed with %s", async (type) => {
    const image = path(`${type}.qcow2`);
    await must("qemu-img", ["convert", "-c", "-O", "qcow2", "-o", `compression_type=${type}`, raw, image]);
    await trial(image);
  });

  it("an internal snapshot in place of the disk: read, checked, never repaired", async () => {
    const image = path("time-travel.qcow2");
    await must("qemu-img", ["convert", "-O", "qcow2", raw, image]);
    await must("qemu-img", ["snapshot", "-c", "damaged", image]);
    await must("qemu-io", ["-c", `write -P 0 0 ${fileSize(raw)}`, image]);
    const then = ["--snapshot", "damaged"];
    expect((await unterbau(["check", image, ...then], { env })).code).toBe(4);
    expect((await unterbau(["check", image], { env })).code).not.toBe(4);
    await content(image, "-l", "damaged");
    cutOut(path("whole"), guest.root.offset, guest.root.size, path("part"));
    const out = path("out");
    await must(
      "sh",
      ["-c", `node "$0" read "$1" --snapshot damaged --volume "$2" > "$3"`, CLI, image, guest.selector, out],
      { env },
    );
    expect(await sha256File(out)).toBe(await sha256File(path("part")));
    const before = await sha256File(image);
    const refused = await unterbau(["check", image, ...then, "--repair"], { env });
    expect([refused.code, refused.stderr]).toEqual([8, expect.stringContaining("can be read only")]);
    expect((await unterbau(["check", image, "--snapshot", "other"], { env })).stderr).toContain("1 (damaged)");
    expect(await sha256File(image)).toBe(before);
  });

  it("a data file is repaired and undone with its image", async () => {
    const image = path("apart.qcow2");
    const data = path("apart.data");
    await must("qemu-img", ["create", "-q", "-f", "qcow2", "-o", `data_file=${data}`, image, String(fileSize(raw))]);
    await must("qemu-img", ["convert", "-n", "-f", "raw", "-O", "qcow2", raw, image]);
    const before = await Promise.all([image, data].map(sha256File));
    const r = await unterbau(["check", image, "--repair", "--json"], { env });
    expect(r.code).toBe(1);
    await must("qemu-img", ["check", "-q", image]);
    await content(image);
    cutOut(path("whole"), guest.root.offset, guest.root.size, path("part"));
    expect(await sha256File(path("part"))).toBe(repaired);
    expect(await sha256File(data)).not.toBe(before[1]);
    const { run: id } = JSON.parse(r.stdout.toString()) as CheckDocument;
    expect((await unterbau(["undo", id!], { env })).code).toBe(0);
    expect(await Promise.all([image, data].map(sha256File))).toEqual(before);
  });

  it("internal snapshots stay what they were", async () => {
    const image = path("snapshots.qcow2");
    await must("qemu-img", ["convert", "-O", "qcow2", raw, image]);
    await must("qemu-img", ["snapshot", "-c", "one", image]);
    await must("qemu-io", ["-c", "write -P 7 2M 1M", image]);
    await must("qemu-img", ["snapshot", "-c", "two", image]);
    const before = [await content(image, "-l", "one"), await content(image, "-l", "two")];
    expect((await unterbau(["check", image, "--repair"], { env })).code).toBe(1);
    await must("qemu-img", ["check", "-q", image]);
    expect([await content(image, "-l", "one"), await content(image, "-l", "two")]).toEqual(before);
  });

  it("a LUKS container on a block device; a mounted one is refused", async () => {
    const luks = path("os43.luks");
    const key = path("key");
    await toLuks1(raw, luks, key);
    const attach = async (...args: string[]) => (await must("losetup", ["--find", "--show", ...args])).trim();
    const loop = await attach(luks);
    try {
      const before = await sha256File(loop);
      const r = await unterbau(["check", loop, "--key-file", key, "--repair", "--json"], { env });
      expect(r.code).toBe(1);
      expect((await unterbau(["check", loop, "--key-file", key], { env })).code).toBe(0);
      const undo = await unterbau(["undo", (JSON.parse(r.stdout.toString()) as CheckDocument).run!], { env });
      expect(undo.code).toBe(0);
      expect(await sha256File(loop)).toBe(before);
    } finally {
      await must("losetup", ["--detach", loop]);
    }
    const part = await attach("--offset", String(guest.root.offset), copyOf(raw, path("mounted.raw")));
    const at = path("mnt");
    mkdirSync(at);
    await must("mount", ["-o", "ro", part, at]);
    try {
      for (const args of [["inspect"], ["check"], ["check", "--repair"]]) {
        const r = await unterbau([...args, part], { env });
        expect(r.code).toBe(args[0] === "check" ? 8 : 1);
        expect(r.stderr).toContain("is mounted on");
      }
    } finally {
      await must("umount", [at]);
      await must("losetup", ["--detach", part]);
    }
  });

  it("exec: the tool's streams and exit code; changes only on demand, a failing tool's not at all", async () => {
    const image = copyOf(raw, path("exec.raw"));
    const before = await sha256File(image);
    const exec = (options: string[], tool: string[], input = "") =>
      unterbau(["exec", image, "--volume", "p2", ...options, "--", ...tool], { env, input: Buffer.from(input) });
    const through = await exec([], ["sh", "-c", "cat; echo away >&2; exit 7", "{}"], "hello");
    expect([through.code, through.stdout.toString(), through.stderr]).toEqual([7, "hello", "away\n"]);
    expect((await exec([], ["sh", "-c", "kill -SEGV $$", "{}"])).code).toBe(139);
    const label = ["tune2fs", "-L", "new", "{}"];
    expect((await exec([], label)).stderr).toContain("thrown away");
    const failing = await exec(["--write"], ["sh", "-c", 'tune2fs -L new "$0"; exit 3', "{}"]);
    expect([failing.code, failing.stderr]).toEqual([3, expect.stringContaining("--force commits")]);
    expect(await sha256File(image)).toBe(before);
    const written = await exec(["--write"], label);
    expect(written.code).toBe(0);
    expect(await must("dumpe2fs", ["-h", `${image}?offset=${guest.root.offset}`])).toMatch(/volume name: +new\n/);
    const id = /unterbau undo (\S+)/.exec(written.stderr)![1]!;
    expect((await unterbau(["undo", id], { env })).code).toBe(0);
    expect(await sha256File(image)).toBe(before);
  });

  it("cut off or damaged at random: a verdict or one clear line, never a stack trace, never a change", async () => {
    const qcow2 = path("plain.qcow2");
    await must("qemu-img", ["convert", "-O", "qcow2", raw, qcow2]);
    let seed = 20260101;
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return Math.floor((seed / 2147483648) * below);
    };
    for (let round = 0; round < 16; round++) {
      const image = copyOf(round % 2 ? qcow2 : raw, path(`damaged-${round}`));
      if (round % 4 < 2) truncateSync(image, random(Math.min(fileSize(image), 1 << random(24))));
      const fd = openSync(image, "r+");
      const size = fileSize(image);
      for (let i = 0; i < 12 && size > 0; i++) {
        writeSync(fd, Uint8Array.of(random(256)), 0, 1, random(Math.min(size, 1 << (4 + random(20)))));
      }
      closeSync(fd);
      const before = readFileSync(image);
      const [inspect, check] = await Promise.all([
        unterbau(["inspect", image], { env }),
        unterbau(["check", image, "--checker-timeout", "20"], { env }),
      ]);
      expect([0, 1]).toContain(inspect.code);
      expect([0, 4, 8, 12]).toContain(check.code);
      for (const { stderr } of [inspect, check]) expect(stderr).toMatch(/^(unterbau: [^\n]+\n(hint: [^\n]+\n)?)?$/);
      expect(readFileSync(image).equals(before)).toBe(true);
      rmSync(image);
    }
  });
});
