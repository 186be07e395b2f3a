import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { must, unterbau } from "../helpers/cli.ts";
import { damage, type Guest, makeGuest, sha256File } from "../helpers/guest.ts";
import { testGuests } from "../helpers/libvirt.ts";

let folder: string;
let guest: Guest;
let base: string;
const env = () => ({ UNTERBAU_STATE_DIR: join(folder, "state") });
const at = (name: string) => join(folder, name);
const overlay = (name: string, ...args: string[]) =>
  must("qemu-img", ["create", "-q", "-f", "qcow2", ...args, at(name)]);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-overlays-"));
  guest = await makeGuest(folder, "mbr-ext4");
  base = guest.disks[0]!;
  await damage(base, guest.root.offset);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("a repair is not written to a disk on which an image lies that no guest names", async () => {
  const before = await sha256File(base);
  const repair = (...more: string[]) => unterbau(["check", base, "--repair", ...more], { env: env() });
  const refused = async (path: string, ...more: string[]) => {
    const r = await repair(...more);
    expect([r.code, r.stderr]).toEqual([8, expect.stringContaining(`the image ${path} lies on ${base}`)]);
    expect(await sha256File(base)).toBe(before);
  };
  // Looking is no harm.
  await overlay("top.qcow2", "-b", base, "-F", "raw");
  expect((await unterbau(["check", base], { env: env() })).code).toBe(4);
  await refused(at("top.qcow2"));
  const exec = await unterbau(["exec", base, "--write", "--volume", "p2", "--", "tune2fs", "-l", "{}"], { env: env() });
  expect([exec.code, exec.stderr]).toEqual([expect.any(Number), expect.stringContaining("lies on")]);
  expect(exec.code).not.toBe(0);
  rmSync(at("top.qcow2"));
  // By QEMU's other ways to name it.
  for (const name of [`json:{"driver":"raw","file":{"driver":"file","filename":"${base}"}}`, `file:${base}`]) {
    await overlay("other.img", "-u", "-b", name, "-F", "raw", "-o", "size=80M");
    await refused(at("other.img"));
    rmSync(at("other.img"));
  }
  // In a pool of libvirt's.
  mkdirSync(at("pool"));
  await overlay("pool/far.img", "-b", `../${base.slice(folder.length + 1)}`, "-F", "raw");
  const pool = `<pool type='dir'><name>images</name><uuid>00000009-0000-4000-8000-000000000000</uuid><target><path>${at("pool")}</path></target></pool>`;
  await refused(at("pool/far.img"), "--connect", testGuests(folder, [], pool));

  writeFileSync(at("damaged.qcow2"), "QFI\xfb", "latin1");
  await overlay("top.qcow2", "-b", base, "-F", "raw");
  const known = await repair("--i-know");
  expect([known.code, known.stderr]).toEqual([1, expect.stringContaining("top.qcow2 lies on")]);
}, 60_000);
