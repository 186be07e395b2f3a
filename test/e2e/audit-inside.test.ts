import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { AuditDocument } from "../../src/audit/model.ts";
import { must, unterbau } from "../helpers/cli.ts";
import { fileDisk, testGuests } from "../helpers/libvirt.ts";
import { temporaryFolder, untilQemuCanTell } from "../helpers/programs.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());
const at = (name: string) => join(folder.path, name);

it("a guest whose volumes all lie on LUKS of its own is encrypted; with a plain partition or an image below it is not", async () => {
  writeFileSync(at("key"), "the guest's own passphrase");
  await must("truncate", ["-s", "24M", at("plain.raw")]);
  await must("mke2fs", ["-q", "-F", at("plain.raw")]);
  const container = at("luks.raw");
  const make = ["luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--key-file", at("key")];
  await must("truncate", ["-s", "16M", container]);
  await must("cryptsetup", [...make, container]);
  // A partition with LUKS alone, and beside one with a file system, as an installer leaves /boot.
  for (const [name, table] of [
    ["whole.raw", "label: dos\nstart=2048\n"],
    ["boot.raw", "label: dos\nstart=2048, size=32768\nstart=40960\n"],
  ] as const) {
    await must("truncate", ["-s", "48M", at(name)]);
    await must("sh", ["-c", `printf '${table}' | sfdisk --quiet ${at(name)}`]);
    await must("dd", [`if=${container}`, `of=${at(name)}`, "bs=1M", "seek=1", "conv=notrunc", "status=none"]);
  }
  await must("dd", [
    `if=${at("plain.raw")}`,
    `of=${at("boot.raw")}`,
    "bs=1M",
    "seek=20",
    "conv=notrunc",
    "status=none",
  ]);
  await must("truncate", ["-s", "24M", at("luks2.raw")]);
  const second = ["luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
  await must("cryptsetup", [...second, "--key-size", "512", "--key-file", at("key"), at("luks2.raw")]);
  await must("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", at("whole.raw"), at("whole.qcow2")]);
  await must("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", at("whole.raw"), at("over.qcow2")]);
  await must("cp", [at("luks2.raw"), at("again.raw")]);
  const again = ["reencrypt", "-q", "--init-only", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
  await must("cryptsetup", [...again, "--key-file", at("key"), at("again.raw")]);
  const guest = (name: string, file: string) => ({
    name,
    devices: fileDisk(at(file), file.endsWith("qcow2") ? "qcow2" : "raw"),
  });
  const connect = testGuests(folder.path, [
    guest("bare", "luks.raw"),
    guest("whole", "whole.raw"),
    guest("image", "whole.qcow2"),
    guest("boot", "boot.raw"),
    guest("plain", "plain.raw"),
    guest("over", "over.qcow2"),
    guest("second", "luks2.raw"),
    guest("again", "again.raw"),
  ]);
  const { stdout, stderr } = await unterbau(["audit", "--no-keep", "--json", "--connect", connect]);
  const doc = JSON.parse(stdout.toString()) as AuditDocument;
  const found = doc.checks.filter((c) => c.id === "ENC-01").map((c) => [c.guest, c.state, c.remarks[0]!.code]);
  const plain = found.find(([name]) => name === "plain")!.slice(1);
  // What lies under a folder for temporary files is not known on every host.
  expect(
    [
      ["fail", "plain"],
      ["unknown", "unknown"],
    ],
    stderr,
  ).toContainEqual(plain);
  expect(found).toEqual([
    ["again", "pass", "inside"],
    ["bare", "pass", "inside"],
    ["boot", ...plain],
    ["image", "pass", "inside"],
    ["over", ...plain],
    ["plain", ...plain],
    ["second", "pass", "inside"],
    ["whole", "pass", "inside"],
  ]);
  // What cryptsetup says of the same headers.
  const dump = await must("cryptsetup", ["luksDump", container]);
  const [cipher, mode, bits] = ["Cipher name", "Cipher mode", "MK bits"].map(
    (name) => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(dump)![1]!,
  );
  const uuid = async (file: string) => (await must("cryptsetup", ["luksUUID", at(file)])).trim();
  const strength = (name: string) => doc.checks.find((c) => c.id === "ENC-03" && c.guest === name)!.remarks;
  for (const name of ["bare", "whole", "image"]) {
    expect(strength(name), name).toMatchObject([
      {
        // LUKS1 as it is made has half of the policy's bits.
        code: bits === "512" ? "old-version" : "acceptable",
        values: {
          volume: { value: `vda: ${await uuid("luks.raw")}` },
          cipher: { value: `${cipher}-${mode}` },
          bits: { value: Number(bits) },
        },
      },
    ]);
  }
  expect(strength("second")).toMatchObject([
    { code: "strong", values: { volume: { value: `vda: ${await uuid("luks2.raw")}` }, bits: { value: 512 } } },
  ]);
  // Others are not known to hold any.
  expect(strength("plain").map((r) => r.code)).not.toContain("strong");
  // The other checks of the header see it, too: nothing is declared of it.
  const codes = (guest: string) =>
    ["ENC-04", "ENC-05", "ENC-06", "ENC-07"].map((id) =>
      doc.checks.find((c) => c.id === id && c.guest === guest)!.remarks.map((r) => r.code),
    );
  expect(codes("image")).toEqual([["inside"], ["few-iterations"], ["not-declared-slots"], ["none"]]);
  expect(codes("again")[0]).toEqual(["re-encryption"]);
});

it("samples LUKS inside a disk below and, where a key is given, above", async () => {
  const files = ["small.luks", "text.raw", "text.qcow2", "filled.raw"].map(at);
  const [luks, text, image, filled] = files as [string, string, string, string];
  writeFileSync(at("sample-key"), "the guest's own passphrase");
  writeFileSync(text, "Sehr geehrte Damen und Herren, anbei die Rechnung.\n".repeat(200_000));
  await must("truncate", ["-s", "10M", text]);
  // QEMU encrypts it; the guest's disk has it in a partition, the other one is an image that QEMU itself decrypts.
  const secret = ["--object", `secret,id=s,file=${at("sample-key")}`];
  await untilQemuCanTell(() =>
    must("qemu-img", ["convert", ...secret, "-O", "luks", "-o", "key-secret=s,iter-time=10", text, luks]),
  );
  const encrypted = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
  await untilQemuCanTell(() => must("qemu-img", ["convert", ...secret, "-O", "qcow2", "-o", encrypted, text, image]));
  await must("truncate", ["-s", "24M", filled]);
  await must("sh", ["-c", `printf 'label: dos\nstart=2048\n' | sfdisk --quiet ${filled}`]);
  await must("dd", [`if=${luks}`, `of=${filled}`, "bs=1M", "seek=1", "conv=notrunc", "status=none"]);
  // Somebody has written text over the ciphertext.
  await must("cp", [filled, at("broken.raw")]);
  await must("dd", [`if=${text}`, `of=${at("broken.raw")}`, "bs=1M", "seek=6", "conv=notrunc", "status=none"]);
  const connect = testGuests(folder.path, [
    { name: "a-own", devices: fileDisk(filled, "raw") },
    { name: "b-qemu", devices: fileDisk(image, "qcow2").replace("<target", "<encryption format='luks'/><target") },
    { name: "c-broken", devices: fileDisk(at("broken.raw"), "raw") },
  ]);
  const audited = async (...more: string[]) => {
    const r = await unterbau(["audit", "--no-keep", "--json", "--sample", "--connect", connect, ...more]);
    return (JSON.parse(r.stdout.toString()) as AuditDocument).samples!;
  };
  const uuid = (await must("cryptsetup", ["luksUUID", luks])).trim();
  const [own, qemu, broken, ...others] = await audited("--key-file", at("sample-key"));
  expect(others).toEqual([]);
  expect(own).toMatchObject({ mapping: `vda: ${uuid}`, finding: "random", state: "pass", reason: null });
  expect(own!.bytes).toBeGreaterThan(1 << 20);
  expect(own!.equalShare!).toBeLessThan(0.01);
  expect(qemu).toMatchObject({ state: "unknown", finding: null, reason: expect.stringContaining("image") });
  expect(broken).toMatchObject({ finding: "structured", state: "fail" });
  const shut = await audited();
  expect(shut[0]).toMatchObject({ mapping: `vda: ${uuid}`, finding: "unopened", state: "unknown", equalShare: null });
  expect(shut[2]).toMatchObject({ finding: "structured", state: "fail" });
});
