import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Ajv } from "ajv";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bundleScript } from "../faults/bundle.ts";
import { COUNTERS, makeBootable } from "../helpers/boot-code.ts";
import { must, run, unterbau } from "../helpers/cli.ts";
import { CHEAP_LUKS1, CHEAP_LUKS2, opens } from "../helpers/cryptsetup.ts";
import { copyOf, damage, type Guest, makeGuest, toLuks1 } from "../helpers/guest.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { qemuDomain, type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";

const UUID = uuidOf(1);
const MIB = 1024 * 1024;
let daemon: SessionDaemon;
let sound: Guest;
let env: Record<string, string>;
let child: ReturnType<typeof bundleScript>;
const at = (name: string): string => join(daemon.folder, name);
let [disk, target, key] = ["", "", ""];

beforeAll(async () => {
  daemon = await startSessionDaemon();
  sound = await makeGuest(daemon.folder, "mbr-ext4");
  child = bundleScript("migrate-child.ts");
  [disk, target, key] = [at("mail.raw"), at("mail.luks"), at("key")];
  writeFileSync(key, "the passphrase of the mail server");
});
afterAll(async () => {
  child?.cleanup();
  await daemon?.end();
});
beforeEach(async () => {
  env = { UNTERBAU_STATE_DIR: at("state") };
  copyOf(sound.disks[0]!, disk);
  makeBootable(disk);
  daemon.handOver(disk);
  await define(fileDisk(disk, "raw", "vda", "<!-- mine -->"));
});
afterEach(async () => {
  for (const uuid of (await daemon.virsh("list", "--all", "--uuid")).split("\n").filter((l) => l !== "")) {
    await run("virsh", ["-c", daemon.uri, "destroy", uuid]);
    await run("virsh", ["-c", daemon.uri, "undefine", uuid]);
  }
  for (const uuid of (await secrets()).match(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) ?? [])
    await daemon.virsh("secret-undefine", uuid);
  for (const path of [target, at("state")]) rmSync(path, { recursive: true, force: true });
});

async function define(disks: string): Promise<void> {
  const xml = at("mail.xml");
  const card = "<interface type='user'><mac address='52:54:00:12:34:56'/><model type='virtio'/></interface>";
  writeFileSync(xml, qemuDomain("mail", UUID, disks + card));
  await daemon.virsh("define", xml);
}

const cli = (...args: string[]) => unterbau(["migrate", ...args, "--connect", daemon.uri, "--no-prompt"], { env });
const toFile = ["--to-file", "", "--target-key-file", ""];
const migrate = (...more: string[]) => {
  toFile[1] = target;
  toFile[3] = key;
  return cli("vm:mail", ...toFile, ...CHEAP_LUKS1, "--json", ...more);
};
/** libvirt keeps the empty element when all metadata is taken out. */
const xmlOf = async (guest: string) =>
  (await daemon.virsh("dumpxml", "--inactive", guest)).replace(/^ *<metadata\/>\n/m, "");
const migrations = async () => JSON.parse((await cli("--list", "--json")).stdout.toString()).migrations;
const guests = async () =>
  (await daemon.virsh("list", "--all", "--name"))
    .split("\n")
    .filter((l) => l !== "")
    .sort();
const secrets = async () => (await daemon.virsh("secret-list")).trim();

/** The content of the target as QEMU's own LUKS driver has it. */
async function content(): Promise<Buffer> {
  const image = `driver=luks,key-secret=k,file.filename=${target}`;
  const out = at("content.raw");
  await must("qemu-img", ["convert", "--object", `secret,id=k,file=${key}`, "--image-opts", image, "-O", "raw", out]);
  return readFileSync(out);
}

async function expectAsBefore(xml: string): Promise<void> {
  expect(await xmlOf("mail")).toBe(xml);
  expect(await guests()).toEqual(["mail"]);
  expect(await secrets()).toBe("");
  expect(readdirSync(daemon.folder).filter((n) => n.startsWith("mail.luks"))).toEqual([]);
  expect(readdirSync(at("state/headers")).filter((n) => n.endsWith(".luksheader"))).toEqual([]);
  expect(await migrations()).toEqual([]);
}

describe("migrate", () => {
  it("brings a guest onto LUKS, where it boots; the old one is not started; and takes all of it back", async () => {
    await daemon.virsh("autostart", "mail");
    const before = await xmlOf("mail");
    const planned = JSON.parse((await migrate("--dry-run")).stdout.toString());
    expect(planned).toMatchObject({ run: null, state: "planned", disks: [{ disk: "vda", size: 80 * MIB }] });
    const shown = await cli("vm:mail", "--to-file", target, "--target-key-file", key, "--dry-run");
    expect(shown.stdout.toString()).toMatch(/ 3\. make the LUKS container\n {5}back: destroy its keys/);
    expect(shown.stdout.toString()).toMatch(/note: what the guest discards is not passed on: QEMU's LUKS drops it\n/);
    expect([existsSync(target), await xmlOf("mail")]).toEqual([false, before]);

    const r = await migrate();
    expect(r.code, r.stderr).toBe(0);
    const document = JSON.parse(r.stdout.toString());
    const ajv = new Ajv({ strict: true, allowUnionTypes: true });
    const valid = ajv.compile(JSON.parse(readFileSync("docs/schemas/migrate.json", "utf8")));
    for (const one of [planned, document]) expect(valid(one), JSON.stringify(valid.errors)).toBe(true);
    expect(statSync(target).size).toBe(2 * MIB + 80 * MIB);
    expect((await content()).equals(readFileSync(disk))).toBe(true);
    const [moved] = document.disks;
    expect(moved.sha256).toBe((await must("sha256sum", [disk])).slice(0, 64));
    expect(opens(moved.header, key)).toBe(true);
    expect(await guests()).toEqual(["mail", "mail-luks"]);
    const { run: id } = document;
    const listed = await unterbau(["list", "--connect", daemon.uri], { env });
    expect(listed.stdout.toString()).toContain(
      `migrated: mail-luks took its place, start that one · the old disk was not destroyed yet (unterbau retire ${id})`,
    );
    expect(listed.stdout.toString()).toContain("migrated from mail · the old disk was not destroyed yet");
    expect(listed.stdout.toString()).toContain("encrypted by QEMU (LUKS)");
    expect(await must("virsh", ["-c", daemon.uri, "dominfo", "mail"])).toMatch(/Autostart: +disable/);
    const clone = await xmlOf("mail-luks");
    expect(clone).not.toContain("52:54:00:12:34:56");
    expect(clone).toContain('role="clone"');
    expect((await migrate()).stderr).toMatch(/belongs to a migration already/);

    const started = await unterbau(["unlock", "vm:mail", "--start", "--connect", daemon.uri, "--no-prompt"], { env });
    expect([started.code, started.stderr]).toEqual([
      1,
      expect.stringContaining("its storage was migrated: the guest mail-luks took its place"),
    ]);
    expect(await daemon.virsh("domstate", "mail")).toContain("shut off");

    daemon.handOver(target);
    await daemon.virsh("start", "mail-luks");
    const counter = async () => (await content()).readUInt32LE(COUNTERS[0] * 512);
    const first = readFileSync(disk).readUInt32LE(COUNTERS[0] * 512);
    // Patience is all that it needs: it writes 18 times a second.
    while ((await must("qemu-img", ["info", "-U", target])) && !(await domainWrote())) await wait(100);
    expect((await cli("--rollback", document.run, "--force")).stderr).toMatch(/mail-luks is running/);
    await daemon.virsh("destroy", "mail-luks");
    expect(await counter()).toBeGreaterThan(first);

    expect((await cli("--rollback", document.run)).stderr).toMatch(/is done.*\n.*--force/);
    const back = await cli("--rollback", document.run, "--force");
    expect(back.code, back.stderr).toBe(0);
    expect(back.stderr).toMatch(/- take back: define the copy as a guest \(undefine it\)\n/);
    expect(back.stderr).not.toContain("check every file system");
    await expectAsBefore(before);
    expect(await must("virsh", ["-c", daemon.uri, "dominfo", "mail"])).toMatch(/Autostart: +enable/);
  });

  it("killed when a step is done but not written down, and in the copy, goes on; so does taking it back", async () => {
    const before = await xmlOf("mail");
    const work = (action: string, name: string, killAt: string) =>
      spawnSync("node", [child.path, action, name, key, killAt], {
        encoding: "utf8",
        env: { ...process.env, ...env, CONNECT: daemon.uri, TARGET: target, REPLACE: "1" },
      });
    const steps = ["guard", "target vda", "format vda", "header vda", "copying", "copy vda", "verify vda", "check"];
    steps.push("name vda", "secret vda", "rename", "define", "finish");
    let id = "";
    for (const step of steps) {
      const died = id === "" ? work("migrate", "mail", step) : work("resume", id, step);
      expect(`${step} ${died.signal} ${died.stderr}`).toBe(`${step} SIGKILL `);
      const [{ run, state }] = await migrations();
      id = run;
      expect([step === "copying" ? "copy vda" : step, "done"]).toContain(state);
      expect(existsSync(target)).toBe(steps.indexOf(step) >= steps.indexOf("name vda"));
      if (!["copying", "define", "finish"].includes(step)) continue;
      const shown = (await unterbau(["list", "--connect", daemon.uri], { env })).stdout.toString();
      expect(shown).toContain(step === "finish" ? "mail took its place" : "is being migrated to mail");
      if (step === "define") expect(shown).toContain("the unfinished copy of mail-plain");
    }
    const done = work("resume", id, "");
    expect(done.status, done.stderr).toBe(0);
    expect(await guests()).toEqual(["mail", "mail-plain"]);
    expect(await xmlOf("mail")).toContain("52:54:00:12:34:56");
    expect((await content()).equals(readFileSync(disk))).toBe(true);
    for (const step of steps.filter((s) => s !== "copying").reverse()) {
      const died = work("rollback", id, step);
      expect(`${step} ${died.signal} ${died.stderr}`).toBe(`${step} SIGKILL `);
    }
    expect(work("rollback", id, "").status).toBe(0);
    await expectAsBefore(before);
  });

  it("a device gets LUKS2, which the host opens; rolled back, nothing opens it (needs root)", async () => {
    const before = await xmlOf("mail");
    const backing = at("device.img");
    await must("truncate", ["-s", "96M", backing]);
    const loop = (await must("losetup", ["--find", "--show", backing])).trim();
    try {
      const args = [
        "vm:mail",
        "--to-device",
        loop,
        "--target-key-file",
        key,
        ...CHEAP_LUKS2,
        "--allow-discards",
        "--json",
      ];
      const odd = await cli(...args, "--mapped", "the mail");
      expect([odd.code, odd.stderr]).toEqual([2, expect.stringMatching(/the mail, as which the host.*--mapped NAME/s)]);
      expect((await cli(...args, "--mapped", "control")).stderr).toMatch(/\/dev\/mapper\/control.* is there already/);
      const r = await cli(...args);
      expect(r.code, r.stderr).toBe(0);
      const { run: id } = JSON.parse(r.stdout.toString());
      expect(opens(loop, key)).toBe(true);
      const read = await unterbau(["read", loop, "--volume", "p2", "--key-file", key], { env });
      const { offset, size } = sound.root;
      expect(read.stdout.equals(readFileSync(disk).subarray(offset, offset + size))).toBe(true);
      const cloneXml = await xmlOf("mail-luks");
      expect(cloneXml).toMatch(/discard='unmap'\/>\s+<source dev='\/dev\/mapper\/mail-luks'/);
      // A guest of another name may not have the same mapping, as long as this copy is there.
      writeFileSync(at("web.xml"), qemuDomain("web", uuidOf(2), fileDisk(disk, "raw")));
      await daemon.virsh("define", at("web.xml"));
      const twice = [...args.map((a) => (a === "vm:mail" ? "vm:web" : a)), "--mapped", "mail-luks", "--overwrite"];
      const same = await cli(...twice, "--dry-run");
      expect([same.code, same.stderr]).toEqual([2, expect.stringContaining("is that of another migration's copy")]);
      await daemon.virsh("undefine", "mail-luks");
      const free = await cli(...twice, "--dry-run");
      expect(free.code, free.stderr).toBe(0);
      await daemon.virsh("undefine", "web");
      writeFileSync(at("clone.xml"), cloneXml);
      await daemon.virsh("define", at("clone.xml"));
      const boot = await unterbau(["boot", "enable", "vm:mail-luks", "--dry-run", "--connect", daemon.uri], { env });
      expect([boot.code, boot.stderr]).toEqual([1, expect.stringContaining("unterbau unlock vm:mail-luks opens it")]);
      expect((await cli("--rollback", id, "--force")).code).toBe(0);
      expect(
        readFileSync(backing)
          .subarray(0, 16 * MIB)
          .equals(Buffer.alloc(16 * MIB)),
      ).toBe(true);
      await expectAsBefore(before);
      await must("mke2fs", ["-q", "-F", loop]);
      expect((await cli(...args)).stderr).toMatch(/is not empty: it holds ext2/);
      const small = (await must("losetup", ["--find", "--show", "--sizelimit", String(95 * MIB), backing])).trim();
      args[2] = small;
      try {
        expect((await cli(...args)).stderr).toMatch(/has 99614720 bytes; 100663296 are needed/);
      } finally {
        await must("losetup", ["-d", small]);
      }
    } finally {
      await must("losetup", ["-d", loop]);
      rmSync(backing);
    }
  });

  it("refuses a guest that is not clean, and one that changes under it; nothing of the guest is lost", async () => {
    const before = await xmlOf("mail");
    await damage(disk, sound.root.offset);
    const dirty = readFileSync(disk);
    const r = await migrate();
    expect(r.code).toBe(1);
    expect(r.stderr).toMatch(/file systems of the guest are not clean: p2 is would-repair/);
    const [{ run: id, state }] = await migrations();
    expect(state).toBe("check");
    expect((await cli("--rollback", id)).code).toBe(0);
    await expectAsBefore(before);
    expect(readFileSync(disk).equals(dirty)).toBe(true);
    expect((await migrate("--repair")).code).toBe(0);
    expect(readFileSync(disk).equals(dirty)).toBe(true);
    const checked = await unterbau(["check", target, "--key-file", key, "--no-prompt"], { env });
    expect(checked.code, checked.stderr).toBe(0);
  });

  it("notices that the source was changed after it was copied", async () => {
    const died = spawnSync("node", [child.path, "migrate", "mail", key, "copy vda"], {
      env: { ...process.env, ...env, CONNECT: daemon.uri, TARGET: target },
    });
    expect(died.signal).toBe("SIGKILL");
    makeBootable(disk, { deaf: true });
    const [{ run: id }] = await migrations();
    // The copy was not written down as done: it is begun anew. Then the source changes once more, behind it.
    const again = spawnSync("node", [child.path, "resume", id, key, "verify vda"], {
      env: { ...process.env, ...env, CONNECT: daemon.uri, TARGET: target },
    });
    expect(again.signal).toBe("SIGKILL");
    makeBootable(disk);
    const r = await cli("--resume", id, "--target-key-file", key);
    expect(r.stderr).toMatch(/the copy of vda differs from the source/);
    expect(existsSync(target)).toBe(false);
    expect((await cli("--rollback", id)).code).toBe(0);
  });

  it("refuses by name what stands in the way", async () => {
    const before = await xmlOf("mail");
    writeFileSync(target, "mine");
    expect((await migrate()).stderr).toMatch(/is there already/);
    rmSync(target);
    expect((await migrate("--name", "mail")).stderr).toMatch(/there is a guest mail already/);
    expect((await migrate("--name", "a/b")).stderr).toMatch(/a\/b is no name for a guest/);
    expect((await cli("vm:mail")).stderr).toMatch(/no target is named/);
    expect((await cli()).stderr).toMatch(/a guest is wanted/);
    expect((await cli("--resume", "nothing")).stderr).toMatch(/there is no migration nothing/);
    await daemon.virsh("start", "mail");
    expect((await migrate()).stderr).toMatch(/is running/);
    // What is refused after it was shut down leaves it as it was.
    const off = await migrate("--shutdown", "--force-off", "--timeout", "1", "--name", "mail");
    expect(off.stderr).toMatch(/starting the guest mail again[\s\S]*there is a guest mail already/);
    expect(await daemon.virsh("domstate", "mail")).toContain("running");
    await daemon.virsh("destroy", "mail");
    expect(await xmlOf("mail")).toBe(before);
    expect(await migrations()).toEqual([]);
  });

  it("refuses a guest with LUKS of its own at once when no key opens that, and checks what lies in it", async () => {
    const [own, other] = [at("own.luks"), at("other-key")];
    writeFileSync(other, "another passphrase");
    await toLuks1(sound.disks[0]!, own, at("own-key"));
    daemon.handOver(own);
    await define(fileDisk(own, "raw"));
    for (const keys of [[], ["--key-file", other]]) {
      const r = await migrate(...keys);
      expect([r.code, r.stderr]).toEqual([
        1,
        expect.stringMatching(/none of the keys opens .* on its disk vda[\s\S]*--key-file/),
      ]);
    }
    expect([existsSync(target), await migrations()]).toEqual([false, []]);
    const moved = await migrate("--key-file", at("own-key"));
    expect(moved.code, moved.stderr).toBe(0);
    expect((await content()).equals(readFileSync(own))).toBe(true);
  });
});

/** Whether the running copy has written to its disk, as libvirt counts. */
async function domainWrote(): Promise<boolean> {
  return /wr_req (?!0$)\d+/m.test(await daemon.virsh("domblkstat", "mail-luks", "vda"));
}
