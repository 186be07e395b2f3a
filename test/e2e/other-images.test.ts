import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CheckDocument, InspectDocument } from "../../src/usecases/documents.ts";
import { must, unterbau } from "../helpers/cli.ts";
import { copyOf, cutOut, damage, type Guest, makeGuest, sha256File } from "../helpers/guest.ts";

const TIME = { E2FSCK_TIME: "1800000000", E2FSPROGS_FAKE_TIME: "1800000000" };

/** Kind in the tree, QEMU's name and its options. */
const IMAGES = [
  ["vmdk", "vmdk", "subformat=monolithicSparse"],
  ["vmdk", "vmdk", "subformat=monolithicFlat"],
  ["vmdk", "vmdk", "subformat=streamOptimized"],
  ["vdi", "vdi", "static=off"],
  ["vhd", "vpc", "force_size=on"],
  ["vhd", "vpc", "subformat=fixed,force_size=on"],
  ["vhdx", "vhdx", "block_size=1M"],
] as const;

describe("guests in images of other programs", () => {
  let folder: string;
  let env: Record<string, string>;
  let guest: Guest;
  let sound: string;
  let damaged: string;
  let root: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "unterbau-other-"));
    env = { UNTERBAU_STATE_DIR: join(folder, "state"), ...TIME };
    guest = await makeGuest(folder, "mbr-ext4");
    sound = guest.disks[0]!;
    cutOut(sound, guest.root.offset, guest.root.size, join(folder, "root"));
    root = await sha256File(join(folder, "root"));
    damaged = copyOf(sound, join(folder, "damaged.raw"));
    await damage(damaged, guest.root.offset);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const convert = async (raw: string, qemu: string, options: string, name: string) => {
    const image = join(folder, name);
    await must("qemu-img", ["convert", "-f", "raw", "-O", qemu, "-o", options, raw, image]);
    return image;
  };
  /** The image and the extents beside it. */
  const hashes = (name: string) =>
    Promise.all(
      readdirSync(folder)
        .filter((f) => f.startsWith(name))
        .sort()
        .map((f) => sha256File(join(folder, f))),
    );

  it.each(IMAGES)("%s (%s, %s): inspected, read, checked, and not written to", async (kind, qemu, options) => {
    const name = `${kind}-${options.replaceAll(/\W/g, "-")}`;
    const image = await convert(sound, qemu, options, `${name}.${kind}`);
    const bad = await convert(damaged, qemu, options, `bad-${name}.${kind}`);
    const before = await hashes(`bad-${name}`);
    const [inspected, read, clean, preview] = await Promise.all([
      unterbau(["inspect", image, "--json"], { env }),
      unterbau(["read", image, "--volume", "p2"], { env }),
      unterbau(["check", image, "--volume", "p2"], { env }),
      unterbau(["check", bad, "--volume", "p2"], { env }),
    ]);
    expect([inspected.code, inspected.stderr]).toEqual([0, ""]);
    const document = JSON.parse(inspected.stdout.toString()) as InspectDocument;
    expect(document.tree[0]!.children.map((c) => c.kind)).toEqual([kind]);
    expect(document.volumes.length).toBeGreaterThan(0);
    expect(document.volumes.map((v) => v.path[0])).toEqual(document.volumes.map(() => kind));
    expect(createHash("sha256").update(read.stdout).digest("hex")).toBe(root);
    expect([clean.code, preview.code]).toEqual([0, 4]);

    // One after the other: each locks the image for itself alone.
    const repair = await unterbau(["check", bad, "--repair", "--json"], { env });
    expect(repair.code).toBe(8);
    const { volumes } = JSON.parse(repair.stdout.toString()) as CheckDocument;
    expect(volumes.map((v) => v.verdict)).toEqual(["not-checked"]);
    expect(volumes[0]!.reason).toContain(`${kind} images are only read; convert it first`);
    const label = ["--write", "--", "tune2fs", "-L", "x", "{}"];
    const written = await unterbau(["exec", bad, "--volume", "p2", ...label], { env });
    expect(written.code).not.toBe(0);
    expect(written.stderr).toContain(`${kind} images are only read; convert it first`);
    expect(await hashes(`bad-${name}`)).toEqual(before);
  });

  it("a VMDK on a block device or called raw is what the user says", async () => {
    const image = await convert(sound, "vmdk", "subformat=monolithicSparse", "plain.raw");
    const guessed = await unterbau(["inspect", image], { env });
    expect(guessed.stdout.toString().split("\n")[0]).toMatch(/ vmdk +.*monolithicSparse/);
    expect(guessed.stdout.toString()).toContain("looks like a vmdk image although its name says raw");
    const loop = (await must("losetup", ["--find", "--show", "-r", image])).trim();
    try {
      const kinds = async (...options: string[]) => {
        const r = await unterbau(["inspect", loop, "--json", ...options], { env });
        return (JSON.parse(r.stdout.toString()) as InspectDocument).tree[0]!.children.map((c) => c.kind);
      };
      expect(await kinds()).toEqual(["raw"]);
      expect(await kinds("--format", "vmdk")).toEqual(["vmdk"]);
    } finally {
      await must("losetup", ["--detach", loop]);
    }
  });

  it("an image that is refused is shown, and its content is not called clean", async () => {
    const base = await convert(sound, "vmdk", "subformat=monolithicSparse", "base.vmdk");
    const top = join(folder, "top.vmdk");
    await must("qemu-img", ["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base, top]);
    const inspected = await unterbau(["inspect", top], { env });
    expect(inspected.stdout.toString()).toContain("not supported: a VMDK image with a parent");
    const checked = await unterbau(["check", top], { env });
    expect(checked.code).toBe(8);
    for (const volume of ["p2", "disk1"]) {
      const read = await unterbau(["read", top, "--volume", volume], { env });
      expect(read.code).not.toBe(0);
      expect(read.stderr).toContain("a VMDK image with a parent");
      expect(read.stderr).not.toContain("passphrase");
    }
  });
});
