import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleScript } from "../faults/bundle.ts";
import { unterbau } from "../helpers/cli.ts";
import { CHEAP_LUKS1, CHEAP_LUKS2, opens, watchedCryptsetup } from "../helpers/cryptsetup.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";
import { content, cryptsetupVolumeKey, xtsEncrypt } from "./luks-tools.ts";

const MIB = 1024 * 1024;
const folder = temporaryFolder();
const at = (name: string): string => join(folder.path, name);
const raw = at("disk.raw");
const key = at("key");
const SECRET = "Grüße an alle, die dies lesen\n";
let child: ReturnType<typeof bundleScript>;

beforeAll(() => {
  child = bundleScript("convert-child.ts");
  writeFileSync(key, SECRET);
  // A hole, data, a hole, and an end that is no whole sector.
  sparseFile(raw, 20 * MIB + 700, [
    [3 * MIB + 5, content(2 * MIB, 1)],
    [20 * MIB - 100, content(800, 2)],
  ]);
});
afterAll(() => {
  child.cleanup();
  folder.remove();
});

async function toLuks(target: string, args: string[], env: Record<string, string> = {}) {
  const r = await unterbau(["convert", raw, target, "--to-luks", "--no-prompt", ...args], { env });
  return { code: r.code, out: r.stdout.toString(), err: r.stderr };
}
const withKey = ["--target-key-file", key];
const left = (name: string) => readdirSync(folder.path).filter((n) => n.startsWith(name));
const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The source up to a whole sector. */
const padded = (): Buffer => Buffer.concat([readFileSync(raw), Buffer.alloc(512 - (700 % 512))]);

describe("convert --to-luks", () => {
  it("makes LUKS2 as it was told, in a file of exactly the right size, with all keys", async () => {
    const target = at("two.luks");
    writeFileSync(at("second"), "another passphrase");
    const more = ["--second-key-file", at("second"), "--recovery-key-file", at("recovery"), "--label", "os43"];
    const watched = watchedCryptsetup(folder.path);
    const r = await toLuks(target, [...withKey, ...more, ...CHEAP_LUKS2, "--verify", "--json"], watched.env);
    expect(r).toMatchObject({ code: 0, err: "" });
    const ajv = new Ajv({ strict: true, allowUnionTypes: true });
    const document = JSON.parse(r.out);
    expect(ajv.validate(JSON.parse(readFileSync("docs/schemas/convert.json", "utf8")), document)).toBe(true);
    expect([statSync(target).size, statSync(target).mode & 0o777]).toEqual([16 * MIB + 20 * MIB + 1024, 0o600]);
    expect(left("two.luks")).toEqual(["two.luks"]);

    const header = JSON.parse(run("cryptsetup", "luksDump", "--dump-json-metadata", target));
    expect(header.segments["0"]).toMatchObject({
      offset: String(16 * MIB),
      encryption: "aes-xts-plain64",
      sector_size: 512,
    });
    expect(header.digests["0"].hash).toBe("sha512");
    expect(Object.keys(header.keyslots)).toHaveLength(3);
    for (const slot of Object.values<{ key_size: number; kdf: object; af: object }>(header.keyslots)) {
      expect(slot).toMatchObject({ key_size: 64, kdf: { type: "argon2id", memory: 65536 }, af: { hash: "sha512" } });
    }
    const uuid = run("cryptsetup", "luksUUID", target).trim();
    expect(document.luks).toMatchObject({ version: 2, uuid, keyBits: 512, keyslots: 3, pbkdf: "argon2id" });
    expect([key, at("second"), at("recovery")].map((file) => opens(target, file))).toEqual([true, true, true]);
    expect(statSync(at("recovery")).mode & 0o777).toBe(0o600);

    // The payload is what OpenSSL's own XTS makes of the source with the key that cryptsetup arrives at.
    const expected = xtsEncrypt(cryptsetupVolumeKey(target, key), padded(), 512);
    expect(sha(readFileSync(target).subarray(16 * MIB))).toBe(sha(expected));
    // No key in what other users of the host can see.
    const seen = watched.log();
    for (const secret of [SECRET.trim(), "another passphrase", readFileSync(at("recovery"), "latin1")])
      expect(seen).not.toContain(Buffer.from(secret).toString("latin1"));
    expect(seen.match(/luksAddKey/g)).toHaveLength(2);
  });

  it("makes LUKS1 that QEMU opens", async () => {
    const target = at("one.luks");
    expect(await toLuks(target, [...withKey, ...CHEAP_LUKS1, "--verify"])).toMatchObject({ code: 0 });
    expect(statSync(target).size).toBe(2 * MIB + 20 * MIB + 1024);
    const source = `driver=luks,key-secret=k,file.filename=${target}`;
    run("qemu-img", "convert", "--object", `secret,id=k,file=${key}`, "--image-opts", source, "-O", "raw", at("back"));
    expect(sha(readFileSync(at("back")))).toBe(sha(padded()));
  });

  it.each<[string, string[], RegExp]>([
    ["hash", ["--hash", "sha1"], /hash sha1 \(allowed: sha256/],
    ["iterations", ["--luks1", "--pbkdf-force-iterations", "1000"], /iterations 1000 \(least: 210000\)/],
    ["memory", ["--pbkdf-memory", "1024"], /memory in KiB 1024 \(least: 65536\)/],
    ["cipher", ["--cipher", "aes-cbc-essiv:sha256", "--key-size", "256"], /cipher aes-cbc-essiv:sha256 \(allowed/],
    ["argon2i", ["--pbkdf", "argon2i"], /key derivation argon2i/],
    ["argon2 in LUKS1", ["--luks1", "--pbkdf", "argon2id"], /LUKS1 has no argon2id/],
    [
      "unknown cipher",
      ["--cipher", "serpent-xts-plain64"],
      /serpent-xts-plain64 with a key of 512 bits is not written/,
    ],
    ["no key", [], /there is no key for the new container/],
    ["recovery key without a terminal or file", ["--recovery-key"], /no terminal to show the recovery key/],
    ["recovery key over a file", [...withKey, "--recovery-key-file", key], /is there already/],
    ["the same key twice", [...withKey, "--second-key-file", key], /the second key is the same/],
  ])("refuses by name: %s", async (_, args, message) => {
    // Without a controlling terminal, wherever the tests run.
    const argv = ["dist/cli.js", "convert", raw, at("refused"), "--to-luks", "--no-prompt", ...args];
    const r = spawnSync("setsid", ["--wait", process.execPath, ...argv], { encoding: "utf8" });
    expect(r.stderr).toMatch(message);
    expect(r.stderr).toContain("unterbau: ");
    expect([0, null]).not.toContain(r.status);
    expect(left("refused")).toEqual([]);
    expect(readFileSync(key, "utf8")).toBe(SECRET);
  });

  it("opens what it makes with little memory, for which cryptsetup chooses many passes", async () => {
    const target = at("little.luks");
    writeFileSync(at("little.json"), '{"schema":"unterbau/luks-policy/1","least":{"memoryKiB":1024}}');
    // What it chose on a slow machine.
    const many = ["--pbkdf-memory", "1024", "--pbkdf-force-iterations", "632", "--policy", at("little.json")];
    expect(await toLuks(target, [...withKey, ...many, "--verify"])).toMatchObject({ code: 0, err: "" });
    expect(run("cryptsetup", "luksDump", target)).toMatch(/^\s+Time cost:\s+632$/m);
    expect(opens(target, key)).toBe(true);
  });

  it("leaves nothing when our own reader may not open what was made", async () => {
    const dear = [...CHEAP_LUKS2, "--recovery-key-file", at("gone-key"), "--limit", "argon2Work=1"];
    const r = await toLuks(at("gone"), [...withKey, ...dear]);
    expect(r).toMatchObject({ code: 1, err: expect.stringContaining("--limit argon2Work=") });
    expect(left("gone")).toEqual([]);
  });

  it("keeps to a policy file, stricter and laxer, and refuses one that it does not understand", async () => {
    const policy = (json: unknown) => {
      writeFileSync(at("policy.json"), typeof json === "string" ? json : JSON.stringify(json));
      return ["--policy", at("policy.json"), ...withKey];
    };
    const schema = "unterbau/luks-policy/1";
    const strict = policy({ schema, least: { versions: [2], passphraseBytes: 64 } });
    expect(await toLuks(at("p"), [...strict, "--luks1"])).toMatchObject({
      code: 2,
      err: expect.stringContaining("LUKS version 1 (allowed: 2)"),
    });
    expect((await toLuks(at("p"), [...strict, ...CHEAP_LUKS2])).err).toMatch(
      /is shorter than 64 bytes.*\n.*take a longer one; the least is set by .*policy\.json \(another one: --policy FILE/,
    );
    const lax = policy({ schema, default: { version: 1, hash: "sha256" }, least: { pbkdf2Iterations: 1000 } });
    expect(await toLuks(at("p"), [...lax, "--pbkdf-force-iterations", "1000"])).toMatchObject({ code: 0 });
    const dump = run("cryptsetup", "luksDump", at("p"));
    for (const line of [/^Version:\s+1$/m, /^Hash spec:\s+sha256$/m, /^\s+Iterations:\s+1000$/m])
      expect(dump).toMatch(line);
    for (const bad of [
      "{",
      [],
      { schema: "x" },
      { schema, least: { keyBitz: 1 } },
      { schema, least: { keyBits: "1" } },
    ])
      expect((await toLuks(at("bad"), policy(bad))).err).toMatch(/policy .* is not understood/);
    expect((await toLuks(at("bad"), policy({ schema, default: { hash: "md5" } }))).err).toContain("hash md5");
    expect(left("bad")).toEqual([]);
  });

  it("what cryptsetup made weaker than it was told is not used", async () => {
    // As on a host with little memory, where it takes less for Argon2 by itself.
    const watched = watchedCryptsetup(at("weak-bin"));
    const script = join(watched.env.PATH.split(":")[0]!, "cryptsetup");
    const less = `for a; do shift; case $a in --pbkdf-memory=*) a=--pbkdf-memory=32768 ;; esac; set -- "$@" "$a"; done`;
    writeFileSync(
      script,
      readFileSync(script, "utf8").replace("\n", () => `\n${less}\n`),
    );
    const r = await toLuks(at("weak"), [...withKey, ...CHEAP_LUKS2], watched.env);
    expect(r).toMatchObject({ code: 2, err: expect.stringContaining("keyslot 0: memory in KiB 32768 (least: 65536)") });
    expect(left("weak").filter((n) => n !== "weak-bin")).toEqual([]);
  });

  it("killed while the container is made, begins anew; no key file of the attempt stays", async () => {
    for (const kill of [
      { action: "luksFormat", when: "before" },
      { action: "luksFormat", when: "after" },
      { action: "luksAddKey", when: "before" },
      { action: "luksAddKey", when: "after" },
    ] as const) {
      const target = at("begun.luks");
      const recovery = at("begun.key");
      const args = ["convert", raw, target, "--to-luks", ...withKey, ...CHEAP_LUKS2, "--recovery-key-file", recovery];
      const watched = watchedCryptsetup(folder.path, kill);
      const died = spawnSync(
        "sh",
        ["-c", 'echo $$ > "$1"; shift; exec "$@"', "sh", watched.pidFile, process.execPath, "dist/cli.js", ...args],
        { env: { ...process.env, ...watched.env }, encoding: "utf8" },
      );
      expect(`${died.signal} ${died.stderr}`).toBe("SIGKILL ");
      expect(existsSync(target)).toBe(false);
      const before = existsSync(recovery) ? readFileSync(recovery, "utf8") : "";
      const again = await unterbau([...args, "--verify"]);
      expect(`${again.code} ${again.stderr}`).toBe("0 ");
      expect([opens(target, key), opens(target, recovery)]).toEqual([true, true]);
      expect(readFileSync(recovery, "utf8")).not.toBe(before);
      for (const file of [target, recovery]) rmSync(file);
    }
  });

  it("killed while it copies, goes on in the same container", async () => {
    const target = at("killed.luks");
    const copy = (chunk: number) =>
      spawnSync("node", [child.path, raw, target, String(chunk), key], {
        encoding: "utf8",
        env: { ...process.env, NEW_LUKS: "1" },
      });
    expect(copy(5).signal).toBe("SIGKILL");
    expect(existsSync(target)).toBe(false);
    const uuid = run("cryptsetup", "luksUUID", `${target}.part`);
    const last = copy(0);
    expect(last.status, last.stderr).toBe(0);
    expect(JSON.parse(last.stdout)).toMatchObject({ verified: true, continuedAt: 8 * MIB });
    expect(run("cryptsetup", "luksUUID", target)).toBe(uuid);
    const expected = xtsEncrypt(cryptsetupVolumeKey(target, key), padded(), 512);
    expect(sha(readFileSync(target).subarray(16 * MIB))).toBe(sha(expected));
  });

  it("a file system without room for all of it is left alone (needs root)", async () => {
    const script =
      'mount -t tmpfs -o size=24m tmpfs "$1" && { "$2" dist/cli.js convert "$3" "$1/x" --to-luks --target-key-file "$4"; echo "$?" $(ls "$1"); }';
    const small = run("mktemp", "-d", "-p", folder.path).trim();
    const argv = ["-m", "sh", "-c", script, "sh", small, process.execPath, raw, key];
    const r = spawnSync("unshare", argv, { encoding: "utf8" });
    expect(r.stderr).toMatch(/needs 37749760 bytes, and its file system has 25165824 left/);
    expect(r.stdout).toBe("1\n");
  });
});
