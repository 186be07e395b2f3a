import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Ajv } from "ajv";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { readIfThere } from "../../src/host/edit-table.ts";
import type { BackupDocument } from "../../src/usecases/backup-documents.ts";
import type { LifeDocument } from "../../src/usecases/life-documents.ts";
import { must, run, unterbau } from "../helpers/cli.ts";
import { opens } from "../helpers/cryptsetup.ts";
import { uuidOf } from "../helpers/libvirt.ts";
import { run as program, untilQemuCanTell } from "../helpers/programs.ts";
import { qemuDomain, type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";

const [SECRET, OTHER] = [uuidOf(7), uuidOf(8)];
const PASSPHRASE = "a passphrase of QEMU's";
let daemon: SessionDaemon;
let env: Record<string, string>;
const at = (name: string): string => join(daemon.folder, name);
const ajv = new Ajv({ strict: true, allowUnionTypes: true });
for (const verb of ["unlock", "lock", "backup"])
  ajv.addSchema(JSON.parse(readFileSync(`docs/schemas/${verb}.json`, "utf8")) as object, verb);

beforeAll(async () => {
  daemon = await startSessionDaemon();
  writeFileSync(at("key"), PASSPHRASE);
  writeFileSync(at("wrong"), "another passphrase");
  const luks1 = ["luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000"];
  for (const name of ["a.luks", "b.luks"]) {
    await must("truncate", ["-s", "4M", at(name)]);
    await must("cryptsetup", [...luks1, at(name), at("key")]);
  }
  // A file system that the guest has in one of them, written by QEMU's own driver.
  await must("mke2fs", ["-q", "-t", "ext2", at("content"), "2M"]);
  const opened = ["--object", `secret,id=k,file=${at("key")}`, "-n", "--target-image-opts"];
  await must("qemu-img", [
    "convert",
    ...opened,
    at("content"),
    `driver=luks,key-secret=k,file.filename=${at("a.luks")}`,
  ]);
  const inside = ["-o", "encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10"];
  const key = ["--object", `secret,id=k,file=${at("key")}`];
  await untilQemuCanTell(() => must("qemu-img", ["create", "-f", "qcow2", ...key, ...inside, at("c.qcow2"), "4M"]));
  for (const name of ["a.luks", "b.luks", "c.qcow2"]) daemon.handOver(at(name));
  await define("mail", 1, disk("a.luks", "vda", SECRET));
  await define(
    "both",
    2,
    disk("a.luks", "vda", SECRET) + disk("b.luks", "vdb", SECRET) + disk("c.qcow2", "vdc", OTHER),
  );
  await define("other", 3, disk("b.luks", "vda", SECRET));
  // Notes how virsh is called.
  const real = program("sh", "-c", "command -v virsh").trim();
  mkdirSync(at("bin"));
  writeFileSync(at("bin/virsh"), `#!/bin/sh\n{ printf '%s\\n' "$@"; env; } >>${at("log")}\nexec ${real} "$@"\n`);
  chmodSync(at("bin/virsh"), 0o755);
  env = { PATH: `${at("bin")}:${process.env.PATH}:/usr/sbin:/sbin`, UNTERBAU_STATE_DIR: at("state") };
});
afterAll(() => daemon?.end());
afterEach(async () => {
  rmSync(at("backups"), { recursive: true, force: true });
  for (const name of ["mail", "both", "other"]) await run("virsh", ["-c", daemon.uri, "destroy", name]);
  for (const uuid of await secrets()) await daemon.virsh("secret-undefine", uuid);
  rmSync(at("log"), { force: true });
});

/** Plays systemd's agent (https://systemd.io/PASSWORD_AGENTS): waits for the question about a volume and answers it; the question's file. */
async function answerAgent(uuid: string, passphrase: string): Promise<string> {
  const folder = "/run/systemd/ask-password";
  for (;;) {
    for (const name of existsSync(folder) ? readdirSync(folder).filter((n) => n.startsWith("ask.")) : []) {
      const text = readIfThere(join(folder, name)) ?? "";
      const socket = /^Socket=(.*)$/m.exec(text)?.[1];
      if (socket === undefined || !text.includes(`Id=unterbau:${uuid}\n`) || answered.has(socket)) continue;
      answered.add(socket);
      const reply = spawnSync("/lib/systemd/systemd-reply-password", ["1", socket], { input: passphrase });
      expect(reply.status, String(reply.stderr)).toBe(0);
      return text;
    }
    await sleep(50);
  }
}
const answered = new Set<string>();

/** The files of all questions of ours that are open. */
function questions(): string[] {
  const folder = "/run/systemd/ask-password";
  return (existsSync(folder) ? readdirSync(folder) : [])
    .filter((n) => n.startsWith("ask."))
    .map((n) => readIfThere(join(folder, n)) ?? "")
    .filter((text) => text.includes("Id=unterbau:"));
}

function disk(name: string, target: string, secret: string): string {
  const type = name.endsWith("qcow2") ? "qcow2" : "raw";
  const encryption = `<encryption format='luks'><secret type='passphrase' uuid='${secret}'/></encryption>`;
  return `<disk type='file' device='disk'><driver name='qemu' type='${type}'/><source file='${at(name)}'>${encryption}</source><target dev='${target}' bus='virtio'/></disk>`;
}

async function define(name: string, index: number, disks: string): Promise<void> {
  writeFileSync(at("xml"), qemuDomain(name, uuidOf(index), disks));
  await daemon.virsh("define", at("xml"));
}

async function life(verb: "unlock" | "lock" | "backup", guest: string, ...args: string[]) {
  const r = await unterbau([verb, `vm:${guest}`, "--connect", daemon.uri, "--json", ...args], { env });
  const document = r.stdout.length === 0 ? null : (JSON.parse(r.stdout.toString()) as LifeDocument);
  if (document !== null) expect(ajv.validate(verb, document), ajv.errorsText()).toBe(true);
  const steps = document?.steps.map((s) => `${s.kind} ${s.name} ${s.outcome}`);
  return { code: r.code, stderr: r.stderr, steps, document };
}
const sha = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
/** Two backups: what one says, and what the other has. */
async function backup(guest: string, ...args: string[]) {
  const line = ["backup", `vm:${guest}`, "--connect", daemon.uri, "--to", at("backups"), ...args];
  const said = await unterbau(line, { env });
  expect(said.code, said.stderr).toBe(0);
  const made = await unterbau([...line, "--json"], { env });
  const document = JSON.parse(made.stdout.toString()) as BackupDocument;
  expect(ajv.validate("backup", document), ajv.errorsText()).toBe(true);
  const folder = join(at("backups"), document.id);
  return { text: said.stdout.toString(), notes: said.stderr, disks: document.disks, folder };
}
const unlock = (guest: string, ...args: string[]) => life("unlock", guest, "--no-prompt", ...args);
const secrets = async () =>
  (await daemon.virsh("secret-list")).match(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) ?? [];
const state = async (guest: string) => (await daemon.virsh("domstate", guest)).trim();

describe("unlock and lock of disks that QEMU decrypts", () => {
  it("give libvirt the passphrase, with which QEMU starts, and take it away", async () => {
    expect((await run("virsh", ["-c", daemon.uri, "start", "mail"])).stderr).toContain("no secret with matching uuid");
    const dry = await unlock("mail", "--dry-run");
    expect([dry.code, dry.steps]).toEqual([0, ["secret vda planned"]]);
    const wrong = await unlock("mail", "--key-file", at("wrong"));
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining("no key opens vda of the guest mail")]);
    expect(await secrets()).toEqual([]);
    const boot = await unterbau(["boot", "enable", "vm:mail", "--dry-run", "--connect", daemon.uri], { env });
    expect(boot.stdout.toString()).toMatch(
      /note: QEMU decrypts a disk of it: the unit asks for that passphrase.*LoadCredentialEncrypted=/,
    );
    expect(boot.stdout.toString()).toMatch(/^\+ExecStart=.* unlock vm:\S+ --connect \S+ --start --ask-password$/m);

    const r = await unlock("mail", "--start", "--key-file", at("wrong"), "--key-file", at("key"));
    expect([r.code, r.steps], r.stderr).toEqual([0, ["secret vda done", "guest mail done"]]);
    expect(await state("mail")).toBe("running");
    const xml = await daemon.virsh("secret-dumpxml", SECRET);
    expect(xml).toContain("ephemeral='yes' private='yes'");
    expect(xml).toContain(`<volume>${at("a.luks")}</volume>`);
    expect(readFileSync(at("log"), "utf8")).toContain("secret-set-value");
    expect(readFileSync(at("log"), "utf8")).not.toContain(PASSPHRASE);
    expect((await unlock("mail")).steps).toEqual(["secret vda already"]);
    // libvirt shows what QEMU has decrypted, and the folder is not encrypted.
    const bare = await life("backup", "mail", "--live", "--to", at("backups"));
    expect([bare.code, bare.stderr]).toEqual([
      1,
      expect.stringContaining("vda is encrypted on this host, and would lie in the clear"),
    ]);

    const shown = await backup("mail", "--live", "--plaintext");
    expect(shown.text).toMatch(/vda {2}2 MiB, decrypted, as the guest sees it\n/);
    expect(shown.disks).toMatchObject([{ kind: "content", decrypted: true, header: null, sha256: sha(at("content")) }]);

    const locked = await life("lock", "mail", "--timeout", "0", "--force-off");
    expect([locked.code, locked.steps], locked.stderr).toEqual([0, ["guest mail done", "secret vda done"]]);
    expect(await secrets()).toEqual([]);
    expect((await life("lock", "mail")).steps).toEqual([]);
    expect((await run("virsh", ["-c", daemon.uri, "start", "mail"])).code).toBe(1);
  });

  it("are asked for through systemd's agents, as a unit does at the boot", async () => {
    const uuid = (await must("cryptsetup", ["luksUUID", at("a.luks")])).trim();
    const asking = life("unlock", "mail", "--ask-password", "--start");
    const first = await answerAgent(uuid, "another passphrase");
    expect(first).toMatch(/^Message=Passphrase for LUKS1/m);
    const again = await answerAgent(uuid, PASSPHRASE);
    expect(again).toMatch(/^Message=No keyslot opens with that\. /m);
    const r = await asking;
    expect([r.code, r.steps], r.stderr).toEqual([0, ["secret vda done", "guest mail done"]]);
    expect(await state("mail")).toBe("running");
    // A command that is told to end takes its question back.
    const line = ["dist/cli.js", "unlock", "vm:both", "--connect", daemon.uri, "--ask-password"];
    const ended = spawn(process.execPath, line, { env: { ...process.env, ...env }, stdio: "ignore" });
    const code = new Promise((resolve) => ended.once("close", resolve));
    while (!questions().some((text) => text.includes("Passphrase for LUKS1"))) await sleep(50);
    ended.kill();
    expect(await code).toBe(130);
    expect(questions()).toEqual([]);
    // Who was given a key is not asked.
    expect((await unlock("both", "--ask-password", "--key-file", at("wrong"))).code).toBe(1);
  });

  it("stay as they are encrypted in a backup, with their header, and are not taken for what the guest sees", async () => {
    const { text, disks, folder, notes } = await backup("mail");
    expect(text).toMatch(/vda {2}4 MiB, as it is encrypted, with its LUKS header\n/);
    const item = { kind: "ciphertext", decrypted: false, crypttab: null, sha256: sha(at("a.luks")) };
    expect(disks).toMatchObject([{ ...item, header: "vda.luks-header" }]);
    expect(opens(join(folder, "vda.luks-header"), at("key"))).toBe(true);
    expect(notes).not.toContain("QEMU decrypts it");
    const args = ["backup", "verify", "vm:mail", "--from", at("backups"), "--no-prompt", "--json"];
    const verified = await unterbau([...args, "--key-file", at("key")], { env });
    expect(verified.code, verified.stderr).toBe(0);
    expect(JSON.parse(verified.stdout.toString())).toMatchObject({
      headers: [{ target: "vda" }],
      check: { volumes: [{ type: "ext2", verdict: "clean" }] },
    });
    expect((await unterbau(args, { env })).code).toBe(8);
    // Its content is not to be had while it is off, and that is said.
    const asked = await backup("mail", "--content");
    expect(asked.disks).toMatchObject([item]);
    expect(asked.notes).toContain("vda is kept as it is encrypted: QEMU decrypts it, and only while the guest runs");
    const both = await life("backup", "both", "--to", at("backups"));
    expect([both.code, both.stderr]).toEqual([
      1,
      expect.stringMatching(/disk vdc is encrypted inside its image .*c\.qcow2[\s\S]*--live/),
    ]);
  });

  it("ask for one key where disks share a secret, inside qcow2 too; a second time for nothing", async () => {
    const r = await unlock("both", "--key-file", at("key"));
    expect([r.code, r.steps], r.stderr).toEqual([0, ["secret vda, vdb done", "secret vdc done"]]);
    expect((await unlock("both", "--start")).steps).toEqual([
      "secret vda, vdb already",
      "secret vdc already",
      "guest both done",
    ]);
    expect(await state("both")).toBe("running");
  });

  it("do not take a secret for given that has no value: the commands of a dry run, cut off in the middle", async () => {
    const [define = ""] = (await unlock("mail", "--dry-run")).document!.steps[0]!.commands;
    const half = spawnSync("sh", ["-c", define], { env: { ...process.env, VIRSH_DEFAULT_CONNECT_URI: daemon.uri } });
    expect(half.status, String(half.stderr)).toBe(0);
    expect(await secrets()).toEqual([SECRET]);
    expect((await unlock("mail")).stderr).toContain("no key opens vda");
    expect((await unlock("mail", "--key-file", at("key"))).steps).toEqual(["secret vda done"]);
    expect((await unlock("mail", "--start")).steps).toEqual(["secret vda already", "guest mail done"]);
  });

  it("keep a secret that another running guest needs", async () => {
    await unlock("other", "--start", "--key-file", at("key"));
    const r = await life("lock", "mail");
    expect([r.code, r.steps]).toEqual([1, ["secret vda kept"]]);
    expect(r.document!.steps[0]!.reason).toBe("needed by the guest other");
    expect(await secrets()).toEqual([SECRET]);
  });

  it("leave a persistent secret alone, and say where its value lies", async () => {
    writeFileSync(
      at("xml"),
      `<secret><uuid>${SECRET}</uuid><usage type='volume'><volume>/mine</volume></usage></secret>`,
    );
    await daemon.virsh("secret-define", at("xml"));
    const empty = await unlock("mail", "--key-file", at("key"));
    expect([empty.code, empty.stderr]).toEqual([
      1,
      expect.stringContaining("the secret of vda of the guest mail has no value"),
    ]);
    await daemon.virsh("secret-set-value", `--secret=${SECRET}`, `--file=${at("key")}`, "--plain");
    const r = await unlock("mail");
    expect([r.code, r.steps]).toEqual([0, ["secret vda already"]]);
    expect(r.document!.remarks[0]!.what).toContain("libvirt keeps the passphrase of vda on its own disk");
    expect((await life("lock", "mail")).steps).toEqual([]);
    expect(await secrets()).toEqual([SECRET]);
  });
});
