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
    ["whole", "pass", "inside"],
  ]);
});
