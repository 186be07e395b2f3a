import { execFileSync } from "node:child_process";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseDump, withMetadata } from "../../src/audit/storage/luks-header.ts";
import { encryptionInside } from "../../src/usecases/look-for-luks.ts";
import { run, temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
beforeAll(() => {
  writeFileSync(at("key"), "the first");
  writeFileSync(at("second"), "the second");
});
afterAll(() => folder.remove());

const cryptsetup = (...args: string[]) =>
  execFileSync("cryptsetup", args, { encoding: "utf8", env: { ...process.env, LC_ALL: "C" } });
const few = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
const key = () => ["--key-file", at("key")];

/** What cryptsetup says of the header, in the same form. */
function authority(path: string) {
  const header = parseDump(cryptsetup("luksDump", path))!;
  return header.version === 1 ? header : withMetadata(header, cryptsetup("luksDump", "--dump-json-metadata", path));
}

function container(name: string, ...options: string[]): string {
  const path = at(name);
  writeFileSync(path, "");
  truncateSync(path, 24 << 20);
  cryptsetup("luksFormat", "-q", ...options, ...key(), path);
  return path;
}

const found = (path: string) => encryptionInside({ format: "raw", backing: [] }, path);

describe("a LUKS header that our own reader finds inside a disk, without a key", () => {
  it.each([
    ["LUKS1", ["--type", "luks1", "--pbkdf-force-iterations", "1200"]],
    ["LUKS2 with PBKDF2", ["--type", "luks2", ...few]],
    [
      "LUKS2 with Argon2id, large sectors and half of the key",
      [
        ...["--type", "luks2", "--pbkdf", "argon2id", "--pbkdf-memory", "32768", "--pbkdf-force-iterations", "5"],
        ...["--sector-size", "4096", "--key-size", "256"],
      ],
    ],
  ])("is told as cryptsetup tells of it: %s", async (name, options) => {
    const path = container(name.replaceAll(" ", "-"), ...options);
    const { state, containers } = await found(path);
    expect([state, containers.map((c) => c.header)]).toEqual(["full", [authority(path)]]);
  });

  it("with more keyslots, one that opens nothing, tokens and flags", async () => {
    const path = container("many", "--type", "luks2", ...few);
    const argon = ["--pbkdf", "argon2i", "--pbkdf-memory", "32768", "--pbkdf-force-iterations", "4"];
    cryptsetup("luksAddKey", "-q", ...argon, "--key-slot", "5", ...key(), path, at("second"));
    cryptsetup("luksAddKey", "-q", ...few, "--unbound", "--key-size", "256", "--key-slot", "9", path, at("second"));
    cryptsetup("luksKillSlot", "-q", "--key-file", at("second"), path, "0");
    writeFileSync(at("token.json"), '{"type":"systemd-recovery","keyslots":["5"]}');
    cryptsetup("token", "import", "--json-file", at("token.json"), path);
    const { state, containers } = await found(path);
    const [header] = containers.map((c) => c.header);
    expect(header).toEqual(authority(path));
    expect(header!.keyslots.map((k) => [k.id, k.unbound])).toEqual([
      ["5", false],
      ["9", true],
    ]);
    expect(state).toBe("full");
  });

  it("of an encryption that was begun is told, and no encryption yet", async () => {
    const path = at("begun");
    writeFileSync(path, "");
    truncateSync(path, 64 << 20);
    run("mke2fs", "-q", "-t", "ext4", path, "24m");
    const begin = ["reencrypt", "-q", "--encrypt", "--init-only", "--reduce-device-size", "32m", "--type", "luks2"];
    cryptsetup(...begin, ...few, ...key(), path);
    const { state } = await found(path);
    expect(authority(path)!.segments.map((s) => s.type)).toEqual(["linear", "linear"]);
    expect(state).toBe("none");
  });

  it("of a re-encryption that was begun is told with what it requires", async () => {
    const path = container("again", "--type", "luks2", ...few);
    cryptsetup("reencrypt", "-q", "--init-only", ...few, ...key(), path);
    const { containers } = await found(path);
    const [header] = containers.map((c) => c.header);
    expect(header).toEqual(authority(path));
    expect(header!.requirements.join()).toContain("reencrypt");
  });
});
