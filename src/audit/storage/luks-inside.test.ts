import { expect, it } from "vitest";
import type { AuditGuest, AuditLayer, HostReader } from "../model.ts";
import { luksInsideVolumes } from "./luks-inside.ts";

const layer = (kind: string, more: Partial<AuditLayer> = {}): AuditLayer => ({
  ...{ kind, name: kind, path: null, cipher: null, keyBits: null, encrypts: false, medium: null, below: [] },
  ...more,
});
const guest = (layers: AuditLayer): AuditGuest => ({
  ...{ name: "mail", uuid: "u", state: "shut off", autostart: false },
  disks: [
    {
      ...{ target: "vda", device: "disk", format: "qcow2", readOnly: false, place: "/mail.qcow2" },
      ...{ encrypted: "yes" as const, layers, problem: null },
    },
  ],
});
const HEADER = {
  ...{ version: 2, uuid: "1b4e28ba-2fa1-4dd2-883f-0016d3cca427", epoch: 3, keyBits: 512 },
  segments: [{ type: "crypt", cipher: "aes-xts-plain64", offset: 16777216 }],
  keyslots: [{ id: "0", kdf: "argon2id", iterations: 4, memoryKiB: 1048576, unbound: false }],
  ...{ tokens: [], requirements: [], flags: [] },
};
const line = (header: object) => `luks2 aes-xts-plain64 512 u ${JSON.stringify(header)}\n`;

/** What is found where our own reader says this. */
async function found(stdout: string, layers = layer("luks inside", { path: "/mail.qcow2", below: [layer("image")] })) {
  const asked: string[] = [];
  const host = {
    run: async (argv: readonly string[]) => {
      asked.push(argv.join(" "));
      return { kind: "ran", n: 1, exit: 0, stdout, stderr: "" };
    },
  } as unknown as HostReader;
  const volumes = await luksInsideVolumes(guest(layers), host);
  return { asked, headers: volumes.map((v) => v.header), names: volumes.map((v) => v.name) };
}

it("takes every container's header from the line that tells of it", async () => {
  const { asked, headers, names } = await found(`full aes-xts-plain64\n${line(HEADER)}`);
  expect(asked).toEqual(["unterbau luks-inside qcow2 /mail.qcow2"]);
  expect(headers).toEqual([HEADER]);
  expect(names).toEqual(["vda: 1b4e28ba-2fa1-4dd2-883f-0016d3cca427"]);
});

it("asks for the images that QEMU decrypts, each in its own format", async () => {
  const qemu = (name: string, path: string) => layer("luks inside", { name, path, encrypts: true });
  const chain = layer("image", {
    below: [qemu("qcow2", "/a.qcow2"), layer("backing image", { below: [qemu("luks", "/b")] })],
  });
  expect((await found("", chain)).asked).toEqual([
    "unterbau luks-inside qcow2 /a.qcow2",
    "unterbau luks-inside raw /b",
  ]);
});

it("a container that is not told of, told of by an older record or in a way that a guest has made up is there all the same", async () => {
  expect((await found("unknown\n")).headers).toEqual([null]);
  expect((await found("full x\nluks2 aes-xts-plain64 512 u\n")).headers).toEqual([null]);
  const separator = { ...HEADER, tokens: [{ type: "a\u2028luks2 x 1 u {}", keyslots: [] }] };
  expect((await found(`full x\n${line(HEADER)}${line(separator)}`)).headers).toEqual([HEADER, separator]);
  expect((await found(`full x\n${line(HEADER)}luks3 what\n`)).headers).toEqual([HEADER, null]);
  expect((await found(`full x\n${line({ version: 7 })}`)).headers).toEqual([null]);
});
