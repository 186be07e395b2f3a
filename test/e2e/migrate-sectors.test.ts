import { appendFileSync, copyFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { must, unterbau } from "../helpers/cli.ts";
import { CHEAP_LUKS2 } from "../helpers/cryptsetup.ts";
import { makeGuest } from "../helpers/guest.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { mdMembers } from "../helpers/md.ts";
import { qemuDomain, type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";

const MIB = 1024 * 1024;
let daemon: SessionDaemon;
let env: Record<string, string>;
let loop = "";
const at = (name: string): string => join(daemon.folder, name);

beforeAll(async () => {
  daemon = await startSessionDaemon();
  env = { UNTERBAU_STATE_DIR: at("state") };
  writeFileSync(at("key"), "the passphrase of the mail server");
  const { disks } = await makeGuest(daemon.folder, "mbr-ext4");
  copyFileSync(disks[0]!, at("small.raw"));
  await largeSectors(at("large.raw"));
  copyFileSync(disks[0]!, at("odd.raw"));
  appendFileSync(at("odd.raw"), "the end");
  for (const [i, name] of ["small", "large", "odd"].entries()) {
    daemon.handOver(at(`${name}.raw`));
    const blocks = name === "large" ? "<blockio logical_block_size='4096' physical_block_size='4096'/>" : "";
    writeFileSync(at("xml"), qemuDomain(name, uuidOf(i + 1), fileDisk(at(`${name}.raw`), "raw", "vda", blocks)));
    await daemon.virsh("define", at("xml"));
  }
  await must("truncate", ["-s", "80M", at("device.img")]);
  loop = (await must("losetup", ["--find", "--show", at("device.img")])).trim();
});
afterAll(async () => {
  if (loop !== "") await must("losetup", ["-d", loop]);
  await daemon?.end();
});
afterEach(() => rmSync(at("state"), { recursive: true, force: true }));

/** A disk whose GPT, as sfdisk writes it on such a device, counts in sectors of 4096 bytes, with an ext4. */
async function largeSectors(path: string): Promise<void> {
  await must("truncate", ["-s", "48M", path]);
  const device = (await must("losetup", ["--find", "--show", "--sector-size", "4096", path])).trim();
  try {
    await must("sfdisk", ["--quiet", "--no-reread", "--no-tell-kernel", device], {
      input: Buffer.from("label: gpt\nstart=256, size=10000\n"),
    });
  } finally {
    await must("losetup", ["-d", device]);
  }
  await must("mke2fs", ["-q", "-t", "ext4", "-b", "4096", "-E", `offset=${256 * 4096}`, path, "10000"]);
}

const migrate = (guest: string, ...more: string[]) => {
  const keys = ["--target-key-file", at("key"), ...CHEAP_LUKS2];
  const args = [
    "migrate",
    `vm:${guest}`,
    "--to-device",
    loop,
    ...keys,
    "--connect",
    daemon.uri,
    "--no-prompt",
    "--json",
  ];
  return unterbau([...args, ...more], { env });
};

/** What cryptsetup itself says of the container. */
async function sectorIn(container: string): Promise<string | undefined> {
  return /sector: (\d+) \[bytes\]/.exec(await must("cryptsetup", ["luksDump", container]))?.[1];
}

describe("the sectors of the container", () => {
  it.each([
    { guest: "large", args: [], sector: "4096", size: 48 * MIB },
    { guest: "large", args: ["--sector-size", "512"], sector: "512", size: 48 * MIB },
  ])(
    "are the guest's own, or smaller ones that were asked for: $sector $args",
    async ({ guest, args, sector, size }) => {
      const r = await migrate(guest, ...args);
      expect(r.code, r.stderr).toBe(0);
      const { run, disks } = JSON.parse(r.stdout.toString());
      expect(await sectorIn(loop)).toBe(sector);
      expect(disks).toMatchObject([{ sectorSize: Number(sector), size }]);
      // A device of 80 MiB for 48 and a header of 16.
      expect(r.stderr).toContain(`${16 * MIB} bytes longer than the disk, so the backup of its partition table`);
      expect(disks[0].sha256).toBe((await must("sha256sum", [at(`${guest}.raw`)])).slice(0, 64));
      const back = await unterbau(["migrate", "--rollback", run, "--force", "--connect", daemon.uri], { env });
      expect(back.code, back.stderr).toBe(0);
    },
  );

  it("of a guest whose table counts in 512 bytes are never larger, whoever wants that", async () => {
    const policy = at("policy.json");
    writeFileSync(policy, '{"schema":"unterbau/luks-policy/1","default":{"sectorSize":4096}}');
    for (const [more, hint] of [
      [["--sector-size", "4096"], "hint: --sector-size 512\n"],
      [["--policy", policy], `hint: --sector-size 512 (${policy} may say otherwise)\n`],
    ] as const) {
      const r = await migrate("small", ...more);
      expect([r.code, r.stderr]).toEqual([2, expect.stringContaining(hint)]);
      expect(r.stderr).toContain("the disk has a partition table that counts in sectors of 512");
    }
    await must("truncate", ["-s", "96M", at("device.img")]);
    await must("losetup", ["--set-capacity", loop]);
    const r = await migrate("small", "--policy", policy, "--sector-size", "512");
    expect(r.code, r.stderr).toBe(0);
    expect(await sectorIn(loop)).toBe("512");
  });

  it("are no more than the disk has where a superblock is looked for at the end", async () => {
    writeFileSync(at("member.raw"), mdMembers("raid1-10")[0]!);
    daemon.handOver(at("member.raw"));
    writeFileSync(at("xml"), qemuDomain("member", uuidOf(4), fileDisk(at("member.raw"), "raw")));
    await daemon.virsh("define", at("xml"));
    const r = await migrate("member", "--dry-run", "--overwrite");
    expect([r.code, r.stderr]).toEqual([
      2,
      expect.stringMatching(/superblock is looked for at the end.*\d+ bytes longer/),
    ]);
    const to = ["--to-file", at("member.luks"), "--target-key-file", at("key"), "--dry-run", "--json"];
    const fits = await unterbau(["migrate", "vm:member", ...to, "--connect", daemon.uri, "--no-prompt"], { env });
    expect(fits.code, fits.stderr).toBe(0);
  });

  it("end with zeros where the disk does not end with a sector, as QEMU shows it", async () => {
    await must("truncate", ["-s", "112M", at("device.img")]);
    await must("losetup", ["--set-capacity", loop]);
    const r = await migrate("odd", "--overwrite");
    expect(r.code, r.stderr).toBe(0);
    await must("cp", [at("odd.raw"), at("padded.raw")]);
    await must("truncate", ["-s", "%512", at("padded.raw")]);
    const [{ sha256 }] = JSON.parse(r.stdout.toString()).disks;
    expect(sha256).toBe((await must("sha256sum", [at("padded.raw")])).slice(0, 64));
  });
});
