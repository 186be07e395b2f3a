import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { AuditDocument } from "../../src/audit/model.ts";
import { must, unterbau } from "../helpers/cli.ts";
import { fileDisk, testGuests } from "../helpers/libvirt.ts";
import { temporaryFolder } from "../helpers/programs.ts";

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
});
