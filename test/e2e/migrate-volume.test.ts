import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bundleScript } from "../faults/bundle.ts";
import { unterbau } from "../helpers/cli.ts";
import { CHEAP_LUKS1, CHEAP_LUKS2 } from "../helpers/cryptsetup.ts";
import { makeGuest } from "../helpers/guest.ts";
import { fileDisk, testGuests } from "../helpers/libvirt.ts";
import { PrivateLvm } from "../helpers/lvm-private.ts";
import { run, temporaryFolder } from "../helpers/programs.ts";

/** No device of this name is ever here: nothing is activated. */
const GROUP = `unterbau${process.pid}`;
const folder = temporaryFolder();
const at = (name: string): string => join(folder.path, name);
const key = at("key");
let lvm: PrivateLvm;
let child: ReturnType<typeof bundleScript>;
let uri = "";
let env: Record<string, string>;

beforeAll(async () => {
  const guest = await makeGuest(folder.path, "mbr-ext4");
  uri = testGuests(folder.path, [{ name: "mail", devices: fileDisk(guest.disks[0]!, "raw") }]);
  writeFileSync(key, "the passphrase of the mail server");
  child = bundleScript("migrate-child.ts");
});
afterAll(() => {
  child?.cleanup();
  folder.remove();
});
beforeEach(() => {
  lvm = new PrivateLvm(at("host"));
  env = { UNTERBAU_STATE_DIR: at("state"), ...lvm.env };
});
afterEach(() => {
  lvm[Symbol.dispose]();
  for (const path of [at("state"), at("host"), `/dev/${GROUP}`]) rmSync(path, { recursive: true, force: true });
});

const cli = (...args: string[]) => unterbau(["migrate", ...args, "--connect", uri, "--no-prompt"], { env });
const migrate = (to: string, ...more: string[]) =>
  cli(
    "vm:mail",
    "--to",
    to,
    "--target-key-file",
    key,
    "--json",
    ...(more.includes("--luks1") ? [] : CHEAP_LUKS2),
    ...more,
  );
const volumes = () => lvm.rows("lvs", "lv_name,lv_size,lv_tags,segtype", GROUP);
const migrations = async () => JSON.parse((await cli("--list", "--json")).stdout.toString()).migrations;
const work = (action: string, name: string, killAt: string) =>
  spawnSync("node", [child.path, action, name, key, killAt], {
    encoding: "utf8",
    env: { ...process.env, ...env, CONNECT: uri, GROUP: `${GROUP}/mail` },
  });

/** A group of four-megabyte extents on one disk, of which LVM keeps one for itself. */
function group(size = "130M"): string {
  const disk = lvm.disk("a", size);
  lvm.run("vgcreate", GROUP, disk);
  return disk;
}

describe("migrate --to GROUP", () => {
  it("plans a volume of exactly as many extents as header and disk need, and changes nothing", async () => {
    group();
    const before = lvm.run("vgs", "-o", "all");
    const plan = async (...args: string[]) => {
      const r = await migrate(...(args as [string]), "--dry-run");
      expect(r.code, r.stderr).toBe(0);
      return JSON.parse(r.stdout.toString());
    };
    const luks2 = await plan(GROUP);
    expect(luks2.disks).toMatchObject([
      { volume: `${GROUP}/mail-luks`, target: `/dev/${GROUP}/mail-luks`, openedBy: "host" },
    ]);
    // 80 MiB and 16 of header; 80 MiB and 2 of header.
    expect(luks2.notes[0]).toContain("in 24 extents");
    const luks1 = await plan(`/dev/${GROUP}/other`, "--libvirt-luks", ...CHEAP_LUKS1);
    expect(luks1.disks).toMatchObject([{ volume: `${GROUP}/other`, openedBy: "qemu" }]);
    expect(luks1.notes[0]).toContain("in 21 extents");
    expect((await plan(GROUP, "--name", "post")).disks[0].volume).toBe(`${GROUP}/post`);
    expect(lvm.run("vgs", "-o", "all")).toBe(before);
    expect(await migrations()).toEqual([]);
  });

  it("makes the volume, writes to nothing but it, and takes away that one only", async () => {
    group();
    lvm.run("lvcreate", "-an", "-Zn", "-Wn", "-l", "1", "-n", "mine", "--addtag", "unterbau", GROUP);
    const [mine] = volumes();
    // Nothing is activated here: the step after lvcreate finds no device.
    const r = await migrate(GROUP);
    expect(r.code).toBe(1);
    const name = `${GROUP}/mail-luks`;
    expect(r.stderr).toContain(`/dev/${name} is not there, although the volume ${name} is`);
    expect(r.stderr).toContain(`lvchange --activate y ${name}`);
    const [{ run: id, state }] = await migrations();
    expect(state).toBe("format vda");
    const made = volumes().find((v) => v.lv_name === "mail-luks");
    expect(made).toEqual({
      lv_name: "mail-luks",
      lv_size: String(96 * 2 ** 20),
      lv_tags: `unterbau,unterbau.${id}`,
      segtype: "linear",
    });

    // Somebody else's device under its name.
    const other = lvm.disk("other", "100M");
    run("sh", "-c", `head -c 1000000 /dev/urandom >${other}`);
    const bytes = readFileSync(other);
    mkdirSync(`/dev/${GROUP}`);
    symlinkSync(other, `/dev/${name}`);
    const again = await cli("--resume", id, "--target-key-file", key);
    expect(again.stderr).toContain(`/dev/${name} is another device than the volume ${name}`);
    expect(readFileSync(other).equals(bytes)).toBe(true);

    lvm.run("lvrename", GROUP, "mail-luks", "renamed");
    const back = await cli("--rollback", id);
    expect(back.code, back.stderr).toBe(0);
    expect(volumes()).toEqual([mine]);
    expect(readFileSync(other).equals(bytes)).toBe(true);
    expect(await migrations()).toEqual([]);
  });

  it("killed behind lvcreate, it makes no second volume, and leaves none; a volume of that name made meanwhile is kept", async () => {
    group();
    expect(work("migrate", "mail", "target vda").signal).toBe("SIGKILL");
    expect(volumes()).toMatchObject([{ lv_name: "mail" }]);
    const [{ run: id, state }] = await migrations();
    expect(state).toBe("target vda");
    expect(work("resume", id, "target vda").signal).toBe("SIGKILL");
    expect(volumes()).toMatchObject([{ lv_name: "mail", lv_tags: `unterbau,unterbau.${id}` }]);
    expect(work("rollback", id, "target vda").signal).toBe("SIGKILL");
    expect(volumes()).toEqual([]);
    expect(work("rollback", id, "").status).toBe(0);

    expect(work("migrate", "mail", "guard").signal).toBe("SIGKILL");
    const [second] = await migrations();
    lvm.run("lvcreate", "-an", "-Zn", "-Wn", "-l", "1", "-n", "mail", GROUP);
    const r = await cli("--resume", second.run, "--target-key-file", key);
    expect(r.stderr).toMatch(/lvcreate: .*already exists/);
    expect((await cli("--rollback", second.run)).code).toBe(0);
    expect(volumes()).toMatchObject([{ lv_name: "mail", lv_tags: "" }]);
  });

  it("refuses by name what stands in the way, before anything is made", async () => {
    const says = async (to: string, ...more: string[]) => {
      const r = await migrate(to, ...more);
      expect(r.code).toBe(r.stderr.includes("free extents") || r.stderr.includes("lvcreate") ? 1 : 2);
      return r.stderr;
    };
    expect(await says(GROUP)).toContain(`there is no volume group ${GROUP}`);
    for (const bad of ["a/b/c", "-x", "..", "v g", `${GROUP}/snapshot1`, `${GROUP}/x_tmeta`, `${GROUP}/`, ""])
      expect(await says(bad)).toContain("names no volume group or volume");
    const disk = group();
    expect(await says(GROUP, "--name", "post & co")).toContain("post & co is no name for a volume");
    lvm.run("lvcreate", "-an", "-Zn", "-Wn", "-l", "1", "-n", "mail-luks", GROUP);
    expect(await says(GROUP)).toContain(`there is a volume ${GROUP}/mail-luks already`);
    lvm.run("lvcreate", "-an", "-Zn", "-Wn", "-l", "8", "-n", "more", GROUP);
    const [{ vg_free_count: free } = {}] = lvm.rows("vgs", "vg_free_count", GROUP);
    expect(await says(`${GROUP}/a`)).toContain(`has ${free} free extents of 4194304 bytes; 24 are needed`);
    lvm.run("lvremove", "-y", `${GROUP}/more`);
    lvm.run("pvchange", "-xn", disk);
    expect(await says(`${GROUP}/a`)).toContain("has 0 free extents");
    lvm.run("pvchange", "-xy", disk);
    // There is room, but LVM may not use it in pieces.
    lvm.run("vgchange", "--alloc", "contiguous", GROUP);
    lvm.run("lvcreate", "-an", "-Zn", "-Wn", "-l", "4", "-n", "gap", GROUP, `${disk}:12-15`);
    expect(await says(`${GROUP}/a`)).toMatch(/lvcreate: .*(contiguous|free space)/i);
    lvm.run("lvremove", "-y", `${GROUP}/gap`);

    lvm.run("vgexport", GROUP);
    expect(await says(`${GROUP}/a`)).toContain("it is exported");
    lvm.run("vgimport", GROUP);
    const second = lvm.disk("b", "20M");
    lvm.run("vgextend", GROUP, second);
    lvm.take(second);
    expect(await says(`${GROUP}/a`)).toContain("a disk of it is missing");
    lvm.run("vgreduce", "--removemissing", GROUP);
    lvm.run("vgchange", "--yes", "--systemid", "another", GROUP);
    expect(await says(`${GROUP}/a`)).toContain("it belongs to another host (system ID another)");
    expect(await migrations()).toEqual([]);
  });
});
