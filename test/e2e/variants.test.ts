import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CheckDocument, InspectDocument } from "../../src/usecases/documents.ts";
import { CLI, must, run, unterbau } from "../helpers/cli.ts";
import {
  cutOut,
  damage,
  type Guest,
  type Layout,
  makeGuest,
  sha256File,
  toLuks1,
  toLuks2,
  toQcow2,
} from "../helpers/guest.ts";

/** e2fsck writes the time of the check into the superblock; pinned, two runs give the same bytes. */
const TIME = { E2FSCK_TIME: "1800000000", E2FSPROGS_FAKE_TIME: "1800000000" };

type Wrap = "raw" | "qcow2" | "luks1" | "luks2-512" | "luks2-4096";
const VARIANTS: readonly { name: string; layout: Layout; wrap: Wrap }[] = [
  { name: "variant 1: LUKS1, MBR, swap and ext4", layout: "mbr-ext4", wrap: "luks1" },
  { name: "variant 1: LUKS1, MBR, the guest's own LVM", layout: "mbr-lvm", wrap: "luks1" },
  { name: "variant 1: LUKS2 with 512-byte sectors, MBR, the guest's own LVM", layout: "mbr-lvm", wrap: "luks2-512" },
  { name: "variant 1: LUKS2 with 4096-byte sectors, MBR, ext4", layout: "mbr-ext4", wrap: "luks2-4096" },
  { name: "variant 1: LUKS2 with 4096-byte sectors, GPT, the guest's own LVM", layout: "gpt-lvm", wrap: "luks2-4096" },
  { name: "variant 2: qcow2, MBR, swap, LVM", layout: "mbr-lvm", wrap: "qcow2" },
  { name: "variant 3: raw file, MBR, LVM", layout: "mbr-lvm", wrap: "raw" },
  { name: "variant 3: raw file, GPT, ext4", layout: "gpt-ext4", wrap: "raw" },
];

for (const { name, layout, wrap } of VARIANTS) {
  describe(name, () => {
    let folder: string;
    let guest: Guest;
    let disk: string;
    let keys: string[] = [];
    /** The damaged file system alone, and what e2fsck makes of it when run directly. */
    let plain: string;
    let direct: { code: number | null; text: string; sha: string };
    let state: Record<string, string>;

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "unterbau-e2e-"));
      state = { UNTERBAU_STATE_DIR: join(folder, "state"), ...TIME };
      guest = await makeGuest(folder, layout);
      const raw = guest.disks[0]!;
      await damage(raw, guest.root.offset);
      plain = join(folder, "plain.ext4");
      cutOut(raw, guest.root.offset, guest.root.size, plain);
      const repaired = join(folder, "repaired.ext4");
      cutOut(raw, guest.root.offset, guest.root.size, repaired);
      const r = await run("sh", ["-c", 'exec e2fsck -fy "$1" 2>&1', "sh", repaired], { env: TIME });
      direct = {
        code: r.code,
        text: r.stdout.toString().replaceAll(repaired, "/disk"),
        sha: await sha256File(repaired),
      };
      disk = join(folder, `os43.${wrap}`);
      const key = join(folder, "key");
      if (wrap === "raw") disk = raw;
      else if (wrap === "qcow2") await toQcow2(raw, disk);
      else if (wrap === "luks1") await toLuks1(raw, disk, key);
      else await toLuks2(raw, disk, key, wrap === "luks2-512" ? 512 : 4096);
      keys = wrap.startsWith("luks") ? ["--key-file", key] : [];
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    const check = async (...args: string[]) => {
      const r = await unterbau(["check", disk, ...keys, "--json", ...args], { env: state });
      return { code: r.code, doc: JSON.parse(r.stdout.toString()) as CheckDocument, stderr: r.stderr };
    };

    /** `read` into a file, as a shell's redirection does it. */
    const readTo = (out: string) => {
      const command = [process.execPath, CLI, "read", disk, ...keys, "--volume", guest.selector];
      return must("sh", ["-c", 'exec "$@" > "$OUT"', "sh", ...command], { env: { OUT: out } });
    };

    it("shows the tree: what blkid, sfdisk and lvm2 know of it", async () => {
      const r = await unterbau(["inspect", disk, ...keys, "--json"]);
      expect(r.stderr).toBe("");
      expect(r.code).toBe(0);
      const doc = JSON.parse(r.stdout.toString()) as InspectDocument;
      const blkid = await must("blkid", ["-p", "-o", "export", plain]);
      const swap = doc.volumes.find((v) => v.kind === "swap")!;
      expect(swap.selector).toBe("p1");
      expect(swap.label).toBe("guest-swap");
      const root = doc.volumes.find((v) => v.kind === "filesystem")!;
      expect(root.selector).toBe(guest.selector);
      expect(root.size).toBe(guest.root.size);
      expect(blkid).toContain(`UUID=${root.uuid}\n`);
      expect(blkid).toContain(`LABEL=${root.label}\n`);
      expect(blkid).toContain(`TYPE=${root.type}\n`);
    });

    it("reads the volume's bytes", async () => {
      const out = join(folder, "read.raw");
      await readTo(out);
      expect(await sha256File(out)).toBe(await sha256File(plain));
    });

    it("runs a tool on it", async () => {
      const ours = await unterbau(["exec", disk, ...keys, "--volume", guest.selector, "--", "dumpe2fs", "-h", "{}"]);
      expect(ours.code).toBe(0);
      expect(ours.stdout.toString()).toBe(await must("dumpe2fs", ["-h", plain]));
    });

    it("previews as e2fsck would repair, and leaves every byte alone", async () => {
      const before = await sha256File(disk);
      const { code, doc } = await check();
      expect(code).toBe(4);
      expect(doc.exitCode).toBe(4);
      expect(doc.run).toBeNull();
      expect(doc.volumes).toHaveLength(1);
      expect(doc.volumes[0]).toMatchObject({
        selector: guest.selector,
        verdict: "would-repair",
        exitCode: direct.code,
      });
      expect(doc.volumes[0]!.log.trim()).toBe(direct.text.trim());
      expect(await sha256File(disk)).toBe(before);
    });

    it("repairs to the same bytes, finds it clean, and undoes it byte for byte", async () => {
      const before = await sha256File(disk);
      const { code, doc } = await check("--repair");
      expect(code).toBe(1);
      expect(doc.volumes[0]).toMatchObject({ verdict: "repaired", exitCode: direct.code });
      expect(doc.run).not.toBeNull();
      expect(await sha256File(disk)).not.toBe(before);
      const out = join(folder, "after.raw");
      await readTo(out);
      expect(await sha256File(out)).toBe(direct.sha);
      if (wrap === "qcow2") {
        await must("qemu-img", ["check", disk]);
        const whole = join(folder, "whole.raw");
        await must("qemu-img", ["convert", "-O", "raw", disk, whole]);
        cutOut(whole, guest.root.offset, guest.root.size, out);
        expect(await sha256File(out)).toBe(direct.sha);
      }
      const again = await check();
      expect(again.code).toBe(0);
      expect(again.doc.volumes[0]!.verdict).toBe("clean");
      const undo = await unterbau(["undo", doc.run!], { env: state });
      expect(undo.stderr).not.toContain("hint:");
      expect(undo.code).toBe(0);
      expect(await sha256File(disk)).toBe(before);
    });

    if (!wrap.startsWith("luks")) return;
    it("is locked without a key, and not called clean with a wrong one", async () => {
      const locked = await unterbau(["inspect", disk, "--no-prompt"]);
      expect(locked.code).toBe(0);
      expect(locked.stdout.toString()).toContain("locked: no key was given");
      const before = await sha256File(disk);
      const wrong = await unterbau(["check", disk, "--repair", "--key-file", "package.json", "--json"], { env: state });
      expect(wrong.code).toBe(8);
      const doc = JSON.parse(wrong.stdout.toString()) as CheckDocument;
      expect(doc.volumes).toMatchObject([{ type: "crypto_LUKS", verdict: "not-checked" }]);
      expect(doc.volumes[0]!.reason).toContain("opens no keyslot");
      expect(await sha256File(disk)).toBe(before);
    });
  });
}
