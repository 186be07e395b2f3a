import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { bundleScript } from "../faults/bundle.ts";
import { must, run, unterbau } from "../helpers/cli.ts";
import { CHEAP_LUKS1, opens } from "../helpers/cryptsetup.ts";
import { makeGuest } from "../helpers/guest.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { PrivateLvm } from "../helpers/lvm-private.ts";
import { qemuDomain, type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";

let daemon: SessionDaemon;
let env: Record<string, string>;
let child: ReturnType<typeof bundleScript>;
const at = (name: string): string => join(daemon.folder, name);
const files = () => ["--to-file", `vda=${at("a.luks")}`, "--to-file", `vdb=${at("b.luks")}`];

beforeAll(async () => {
  daemon = await startSessionDaemon();
  env = { UNTERBAU_STATE_DIR: at("state") };
  child = bundleScript("migrate-child.ts");
  writeFileSync(at("key"), "the passphrase of the mail server");
  // One volume group over both disks.
  await makeGuest(daemon.folder, "mbr-lvm2");
  await must("mke2fs", ["-q", "-t", "ext4", at("c.raw"), "4M"]);
  for (const name of ["a", "b", "c"]) daemon.handOver(at(`${name}.raw`));
  const disk = (name: string, target: string, more = "") => fileDisk(at(`${name}.raw`), "raw", target, more);
  await define("mail", 1, disk("a", "vda") + disk("b", "vdb") + disk("c", "vdc", "<readonly/>"));
  await define("two", 2, disk("c", "vda") + disk("a", "vdb", "<shareable/>"));
});
afterAll(async () => {
  child?.cleanup();
  await daemon?.end();
});
afterEach(() => {
  for (const name of ["state", "a.luks", "b.luks"]) rmSync(at(name), { recursive: true, force: true });
});

async function define(name: string, index: number, disks: string): Promise<void> {
  writeFileSync(at("xml"), qemuDomain(name, uuidOf(index), disks));
  await daemon.virsh("define", at("xml"));
}

const cli = (...args: string[]) => unterbau(["migrate", ...args, "--connect", daemon.uri, "--no-prompt"], { env });
const migrate = (guest: string, ...more: string[]) =>
  cli(`vm:${guest}`, "--target-key-file", at("key"), ...CHEAP_LUKS1, "--json", ...more);
const xmlOf = async (guest: string) =>
  (await daemon.virsh("dumpxml", "--inactive", guest)).replace(/^ *<metadata\/>\n/m, "");
const secretsOf = async () =>
  (await daemon.virsh("secret-list")).match(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) ?? [];

/** The content of a container as QEMU's own LUKS driver has it. */
async function content(container: string): Promise<Buffer> {
  const image = `driver=luks,key-secret=k,file.filename=${container}`;
  const secret = `secret,id=k,file=${at("key")}`;
  await must("qemu-img", ["convert", "--object", secret, "--image-opts", image, "-O", "raw", at("content")]);
  return readFileSync(at("content"));
}

async function expectAsBefore(xml: string): Promise<void> {
  expect(await xmlOf("mail")).toBe(xml);
  expect(await daemon.virsh("list", "--all", "--name")).not.toContain("mail-");
  expect(await secretsOf()).toEqual([]);
  expect(readdirSync(daemon.folder).filter((n) => n.includes(".luks"))).toEqual([]);
  expect(readdirSync(at("state/headers")).filter((n) => n.endsWith(".luksheader"))).toEqual([]);
  expect(JSON.parse((await cli("--list", "--json")).stdout.toString()).migrations).toEqual([]);
}

describe("migrating a guest of several disks", () => {
  it("moves each that it can write to, with its own header backup, secret and hash; and takes all of it back", async () => {
    const before = await xmlOf("mail");
    const r = await migrate("mail", ...files(), "--recovery-key-file", at("recovery"));
    expect(r.code, r.stderr).toBe(0);
    const document = JSON.parse(r.stdout.toString());
    expect(document.stays).toEqual([{ disk: "vdc", why: "the guest only reads it" }]);
    expect(document.disks.map((d: { disk: string }) => d.disk)).toEqual(["vda", "vdb"]);
    for (const [i, name] of ["a", "b"].entries()) {
      expect((await content(at(`${name}.luks`))).equals(readFileSync(at(`${name}.raw`)))).toBe(true);
      expect(document.disks[i].sha256).toBe((await must("sha256sum", [at(`${name}.raw`)])).slice(0, 64));
      expect(opens(document.disks[i].header, at("key"))).toBe(true);
      const recovery = at(`recovery.vd${name}`);
      expect([opens(at("a.luks"), recovery), opens(at("b.luks"), recovery)]).toEqual([i === 0, i === 1]);
    }
    const secrets = await secretsOf();
    expect(new Set(secrets).size).toBe(2);
    const sources = [...(await xmlOf("mail-luks")).matchAll(/<source file='([^']*)'/g)].map((m) => m[1]);
    expect(sources).toEqual([at("a.luks"), at("b.luks"), at("c.raw")]);
    const back = await cli("--rollback", document.run, "--force");
    expect(back.code, back.stderr).toBe(0);
    await expectAsBefore(before);
  });

  it("killed behind any step of any disk, goes on; so does taking it back", async () => {
    const before = await xmlOf("mail");
    const work = (action: string, name: string, killAt: string) =>
      spawnSync("node", [child.path, action, name, at("key"), killAt], {
        encoding: "utf8",
        env: {
          ...process.env,
          ...env,
          CONNECT: daemon.uri,
          TARGET: files()
            .filter((f) => f.includes("="))
            .join(","),
        },
      });
    const made = ["target vda", "target vdb", "format vda", "header vda", "format vdb", "header vdb", "copy vda"];
    const steps = [...made, "verify vda", "copy vdb", "verify vdb", "name vda", "name vdb", "secret vda", "secret vdb"];
    let id = "";
    for (const step of steps) {
      const died = id === "" ? work("migrate", "mail", step) : work("resume", id, step);
      expect(`${step} ${died.signal} ${died.stderr}`).toBe(`${step} SIGKILL `);
      const [{ run: now, state }] = JSON.parse((await cli("--list", "--json")).stdout.toString()).migrations;
      expect(state).toBe(step);
      id = now;
      expect([existsSync(at("a.luks")), existsSync(at("b.luks"))]).toEqual(
        ["name vda", "name vdb"].map((n) => steps.indexOf(step) >= steps.indexOf(n)),
      );
    }
    const done = work("resume", id, "");
    expect(done.status, done.stderr).toBe(0);
    for (const name of ["a", "b"])
      expect((await content(at(`${name}.luks`))).equals(readFileSync(at(`${name}.raw`)))).toBe(true);
    for (const step of ["secret vdb", "name vdb", "name vda", "header vdb", "target vda"])
      expect(work("rollback", id, step).signal).toBe("SIGKILL");
    expect(work("rollback", id, "").status).toBe(0);
    await expectAsBefore(before);
  });

  it("makes a volume for each, where the group has room for all", async () => {
    using lvm = new PrivateLvm(daemon.folder);
    const group = `unterbau${process.pid}`;
    lvm.run("vgcreate", group, lvm.disk("pv", "180M"));
    Object.assign(env, lvm.env);
    const sizes = ["a", "b"].map((name) => readFileSync(at(`${name}.raw`)).length + 2 * 2 ** 20);
    const extents = sizes.map((size) => Math.ceil(size / (4 * 2 ** 20)));
    const plan = async (...more: string[]) => migrate("mail", "--to", group, "--libvirt-luks", "--dry-run", ...more);
    const r = await plan();
    expect(r.code, r.stderr).toBe(0);
    const { disks } = JSON.parse(r.stdout.toString());
    expect(disks.map((d: { volume: string }) => d.volume)).toEqual([`${group}/mail-luks`, `${group}/mail-luks-vdb`]);
    const free = () => Number(lvm.rows("vgs", "vg_free_count", group)[0]!.vg_free_count);
    const needed = extents[0]! + extents[1]!;
    lvm.run("lvcreate", "-an", "-Zn", "-Wn", "-l", String(free() - needed + 1), "-n", "x", group);
    expect((await plan()).stderr).toContain(`has ${needed - 1} free extents of 4194304 bytes; ${needed} are needed`);
    const one = await migrate("two", "--to", group, "--libvirt-luks", "--dry-run", "--disk", "vda");
    expect(one.code, one.stderr).toBe(0);
  });

  it("refuses by name what is not said, or said twice", async () => {
    const says = async (...args: string[]) => {
      const r = await migrate("mail", ...args);
      expect(r.code, r.stderr).toBe(2);
      return r.stderr;
    };
    const hint = "--to-file vda=PATH --to-file vdb=PATH";
    for (const [args, what] of [
      [["--to-file", at("x")], `which disk goes to ${at("x")}?`],
      [["--to-file", `vda=${at("x")}`], "no place is named for the disk vdb"],
      [["--to-file", "vda=x", "--to-file", "vda=y", "--to-file", "vdb=z"], "two places are named for the disk vda"],
      [["--to-file", "vda=x", "--to-file", "vdc=y"], "the disk vdc is not moved"],
      [["--disk", "vdx", "--to-file", "x"], "it has no disk vdx"],
      [["--to-file", "vda=x", "--to-file", "vdb=./x"], "is named for two disks"],
      [["--disk", "vda", "--to-file", "vdb=x"], "the disk vdb is not moved"],
      [["--disk", "vda", "--to-file", "x", "--to-file", "y"], "only the disk vda is moved, and 2 places are named"],
      [["--disk", "vda", "--to-file", at("x")], "lvg1 lies on more disks than vda"],
      [[...files(), "--uuid", uuidOf(9)], "--uuid is for one container, and 2 disks are moved"],
    ] as const)
      expect(await says(...args)).toContain(what);
    expect(await says("--to-file", at("x"))).toContain(hint);
    const shared = await migrate("two", "--to-file", `vda=${at("x")}`, "--to-file", `vdb=${at("y")}`);
    expect(shared.stderr).toMatch(/may write to its disk vdb too.*\nhint: without it: --disk vda\n/);
    const one = await run(
      "node",
      [
        "dist/cli.js",
        "migrate",
        "vm:two",
        "--disk",
        "vda",
        "--to-file",
        at("a.luks"),
        "--connect",
        daemon.uri,
        "--no-prompt",
        "--target-key-file",
        at("key"),
        "--dry-run",
      ],
      { env },
    );
    expect(one.code, one.stderr).toBe(0);
    expect(one.stdout.toString()).toContain(
      "note: vdb is not moved (it was not named by --disk): it stays where it is",
    );
  });
});
