import { createHash } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { unterbau } from "../helpers/cli.ts";
import { opens } from "../helpers/cryptsetup.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

const MIB = 1024 * 1024;
const folder = temporaryFolder();
const at = (name: string): string => join(folder.path, name);
const env = { UNTERBAU_STATE_DIR: at("state") };
const [key, other] = [at("key"), at("other")];
/** Without the first, LUKS2 takes the iterations for passes of Argon2. */
const CHEAP = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
const ajv = new Ajv({ strict: true, allowUnionTypes: true });

async function header(action: string, args: string[], schema = true) {
  const r = await unterbau(["header", action, ...args, ...(schema ? ["--json"] : [])], { env });
  const document = schema && r.stdout.length > 0 ? JSON.parse(r.stdout.toString()) : null;
  if (document) {
    const valid = ajv.validate(`unterbau/header-${action}/1`, document);
    expect(valid, ajv.errorsText()).toBe(true);
  }
  return { code: r.code, err: r.stderr, out: r.stdout.toString(), document };
}
const verify = (name: string, keyFile = key) => header("verify", [name, "--key-file", keyFile, "--no-prompt"]);
const sha = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** A container of 24 MiB whose payload is not all zeros. */
function container(name: string, type: "luks1" | "luks2", ...more: string[]): string {
  const path = at(name);
  sparseFile(path, 24 * MIB, [[18 * MIB, Buffer.alloc(4096, name)]]);
  run("cryptsetup", "luksFormat", "-q", "--type", type, ...CHEAP, "--key-file", key, ...more, path);
  return path;
}

function overwrite(path: string, bytes: Uint8Array, offset: number): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

beforeAll(() => {
  for (const action of ["backup", "list", "verify", "restore"])
    ajv.addSchema(JSON.parse(readFileSync(`docs/schemas/header-${action}.json`, "utf8")) as object);
  writeFileSync(key, "the passphrase");
  writeFileSync(other, "quite another one");
});
afterAll(folder.remove);

describe.each(["luks1", "luks2"] as const)("header backups of %s", (type) => {
  it("are cryptsetup's, for their owner's eyes, known to list, and shown to unlock", async () => {
    const path = container(`${type}.img`, type);
    const { code, document } = await header("backup", [path, "--to", at(`${type}-backups`)]);
    expect(code).toBe(0);
    const [backup] = document.backups;
    run("cryptsetup", "luksHeaderBackup", "--header-backup-file", at(`${type}.theirs`), path);
    expect(sha(backup.file)).toBe(sha(at(`${type}.theirs`)));
    expect(backup).toMatchObject({
      device: path,
      uuid: run("cryptsetup", "luksUUID", path).trim(),
      sha256: sha(backup.file),
      epoch: type === "luks1" ? null : Number(/Epoch:\s+(\d+)/.exec(run("cryptsetup", "luksDump", path))![1]),
    });
    expect(
      readdirSync(at(`${type}-backups`)).map((n) => statSync(join(at(`${type}-backups`), n)).mode & 0o777),
    ).toEqual([0o600, 0o600]);
    expect((await header("list", [])).document.backups).toContainEqual({
      ...backup,
      state: "whole",
      onDevice: "current",
    });
    const good = await verify(path);
    expect(good.code).toBe(0);
    expect(good.document).toMatchObject({ ok: true, backups: [{ unlocks: true, reason: null, onDevice: "current" }] });
    expect(readdirSync(at("state/headers")).filter((n) => n.startsWith(".scratch"))).toEqual([]);
  });

  it("are not called good when they are not", async () => {
    const path = container(`${type}-bad.img`, type);
    const file = (await header("backup", [path])).document.backups[0].file;
    const said = async (keyFile?: string) => {
      const { code, document } = await verify(path, keyFile);
      const [{ state, onDevice, unlocks, reason }] = document.backups;
      return { code, ok: document.ok, state, onDevice, unlocks, reason };
    };
    expect(await said(other)).toMatchObject({
      code: 1,
      ok: false,
      unlocks: false,
      reason: "the key opens no keyslot of it",
    });
    const none = await header("verify", [path, "--no-prompt"]);
    expect([none.code, none.document.backups[0].unlocks]).toEqual([1, null]);
    run("cryptsetup", "luksAddKey", "-q", ...CHEAP, "--key-file", key, path, other);
    expect(await said()).toMatchObject({ code: 0, onDevice: "changed", unlocks: true });
    const bytes = readFileSync(file);
    // A keyslot's material, which no checksum of LUKS covers.
    overwrite(file, Buffer.from([bytes[40_000]! ^ 1]), 40_000);
    expect(await said()).toMatchObject({ code: 1, state: "damaged", unlocks: false });
    expect((await header("restore", [path])).err).toMatch(/is damaged/);
    rmSync(file);
    expect(await said()).toMatchObject({ code: 1, state: "missing", unlocks: false });
    rmSync(path);
    expect(await said()).toMatchObject({ code: 1, onDevice: "absent" });
  });

  it("are restored, and undo brings back what was there, byte for byte", async () => {
    const path = container(`${type}-restored.img`, type);
    const before = sha(path);
    await header("backup", [path]);
    expect(await header("restore", [path])).toMatchObject({ code: 0, document: { run: null } });
    run("cryptsetup", "luksErase", "-q", path);
    const erased = sha(path);
    expect(opens(path, key)).toBe(false);
    const restored = await header("restore", [path]);
    expect(restored.code).toBe(0);
    expect(opens(path, key)).toBe(true);
    expect((await unterbau(["undo", restored.document.run], { env })).code).toBe(0);
    expect(sha(path)).toBe(erased);
    // All of the header gone: it is known by its device.
    overwrite(path, Buffer.alloc(2 * MIB), 0);
    expect((await header("restore", [path])).code).toBe(0);
    expect(opens(path, key)).toBe(true);
    if (type === "luks2") expect(sha(path)).toBe(before);
  });
});

describe("header restore refuses", () => {
  it("another container's header, another size, and what is no container any more", async () => {
    const path = container("mine.img", "luks2");
    const foreign = container("foreign.img", "luks2");
    const { file } = (await header("backup", [foreign])).document.backups[0];
    const was = sha(path);
    const refused = async (pattern: RegExp, ...args: string[]) => {
      const r = await header("restore", args);
      expect(r.code).toBe(2);
      expect(r.err).toMatch(pattern);
      expect(r.err).toMatch(/^hint: --force/m);
    };
    await refused(/is that of .*; the backup is of/, path, "--from", file);
    expect(sha(path)).toBe(was);
    const forced = await header("restore", [path, "--from", file, "--force"]);
    expect(forced.code).toBe(0);
    expect(run("cryptsetup", "luksUUID", path)).toBe(run("cryptsetup", "luksUUID", foreign));
    await unterbau(["undo", forced.document.run], { env });
    expect(sha(path)).toBe(was);

    truncateSync(foreign, 25 * MIB);
    await refused(/has 26214400 bytes; the backup is of a device of 25165824/, foreign);
    truncateSync(foreign, 24 * MIB);
    run("mke2fs", "-q", "-F", "-t", "ext4", foreign);
    const filesystem = sha(foreign);
    await refused(/holds ext4 now/, foreign);
    sparseFile(at("empty.img"), 24 * MIB);
    await refused(/has no LUKS header, and the backup is of/, at("empty.img"), "--from", file);
    expect(sha(foreign)).toBe(filesystem);
    copyFileSync(file, at("unknown.bak"));
    expect((await header("restore", [path, "--from", at("unknown.bak")])).err).toMatch(
      /no header backup of .* is known/,
    );
    expect((await header("backup", [at("empty.img")])).err).toMatch(/holds no LUKS header/);
  });
});
