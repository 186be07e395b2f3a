import { execFileSync } from "node:child_process";
import { closeSync, openSync, readFileSync, readSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AuditDocument } from "../../src/audit/model.ts";
import { auditText } from "../../src/report/audit-text.ts";
import { samplePair } from "../../src/usecases/audit-sample.ts";
import { must, unterbau } from "../helpers/cli.ts";
import { temporaryFolder, untilQemuCanTell } from "../helpers/programs.ts";

const folder = temporaryFolder();
const [plain, luks, key, zeros] = ["plain.raw", "disk.luks", "key", "zeros.raw"].map((n) => join(folder.path, n)) as [
  string,
  string,
  string,
  string,
];
const SIZE = 16 * 1024 * 1024;
let payload = 0;

/** Text all over, encrypted by QEMU; where its payload begins cryptsetup says. */
beforeAll(async () => {
  writeFileSync(key, "the passphrase of the sample");
  const line = "Sehr geehrte Damen und Herren, anbei die Rechnung Nr. ";
  writeFileSync(plain, Buffer.alloc(SIZE, Array.from({ length: 5000 }, (_, i) => `${line}${i}\n`).join("")));
  writeFileSync(zeros, Buffer.alloc(1024 * 1024));
  const secret = ["--object", `secret,id=k,file=${key}`];
  const options = "key-secret=k,iter-time=10";
  await untilQemuCanTell(() =>
    must("qemu-img", ["convert", ...secret, "-f", "raw", "-O", "luks", "-o", options, plain, luks]),
  );
  const dump = execFileSync("cryptsetup", ["luksDump", luks], { encoding: "utf8" });
  payload = Number(/^Payload offset:\s*(\d+)$/m.exec(dump)![1]) * 512;
});
afterAll(() => folder.remove());

const reader =
  (path: string, from = 0) =>
  async (into: Uint8Array, offset: number) => {
    const fd = openSync(path, "r");
    try {
      expect(readSync(fd, into, 0, into.length, from + offset)).toBe(into.length);
    } finally {
      closeSync(fd);
    }
  };

test("what QEMU encrypted is like random bytes and other than what it shows", async () => {
  expect(statSync(luks).size).toBe(payload + SIZE);
  const sample = await samplePair("mail", reader(luks, payload), reader(plain), SIZE);
  expect(sample).toMatchObject({ finding: "random", state: "pass", pieces: 64, emptyPieces: 0, bytes: 64 * 65536 });
  expect(sample.equalShare!).toBeLessThan(0.01);
});

test("plaintext below is found, whatever lies above; so is what is only scrambled; what was never written is told apart", async () => {
  expect(await samplePair("a", reader(plain), reader(plain), SIZE)).toMatchObject({ finding: "same", state: "fail" });
  const other = await samplePair("b", reader(plain), reader(luks, payload), SIZE);
  expect(other).toMatchObject({ finding: "structured", state: "fail" });
  const scrambled = join(folder.path, "scrambled");
  writeFileSync(
    scrambled,
    readFileSync(plain).map((b) => b ^ 0x5a),
  );
  expect((await samplePair("c", reader(scrambled), reader(plain), SIZE)).finding).toBe("structured");
  const never = await samplePair("d", reader(zeros), reader(plain), 1024 * 1024);
  expect(never).toMatchObject({ finding: "empty", state: "n-a", emptyPieces: 16 });
  // One sector in four was written.
  const thin = join(folder.path, "thin");
  const stored = readFileSync(luks).subarray(payload);
  writeFileSync(
    thin,
    stored.map((b, i) => (Math.floor(i / 512) % 4 === 0 ? b : 0)),
  );
  const partly = await samplePair("f", reader(thin), reader(plain), SIZE);
  expect(partly).toMatchObject({ finding: "random", bytes: 16 * 65536, emptyPieces: 0 });
  expect((await samplePair("e", reader(luks, payload), reader(plain), 1000)).state).toBe("unknown");
});

test("is told in both languages, and refused for a recorded host", async () => {
  const sample = await samplePair("mail_crypt", reader(luks, payload), reader(plain), SIZE);
  const doc = { run: "r", host: { name: null }, checks: [], samples: [sample] } as unknown as AuditDocument;
  const plainText = (s: string) => s;
  const p = { bold: plainText, dim: plainText, red: plainText, green: plainText, yellow: plainText } as never;
  expect(auditText(doc, "de", p)).toMatch(/erfüllt {5}Stichprobe mail_crypt\n.*von Zufall nicht zu unterscheiden/);
  expect(auditText(doc, "en", p)).toMatch(/pass {5}sample {3}mail_crypt\n.*4\.0 MiB, χ² = \d+/);
  const refused = await unterbau(["audit", "--root", "test/hosts/good", "--sample"]);
  expect([refused.code, refused.stderr]).toEqual([16, expect.stringContaining("not of a recorded one")]);
});
