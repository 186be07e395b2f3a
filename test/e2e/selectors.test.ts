import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { InspectDocument, NodeDocument } from "../../src/usecases/documents.ts";
import { unterbau } from "../helpers/cli.ts";
import { copyOf, cutOut, type Guest, makeGuest, sha256File, toLuks1, toQcow2 } from "../helpers/guest.ts";

describe("selectors", () => {
  let folder: string;
  let env: Record<string, string>;
  let one: Guest;
  let qcow2: string;
  let root: { uuid: string; sha: string };

  const guest = (name: string, layout: "mbr-lvm" | "mbr-lvm2") => {
    mkdirSync(join(folder, name));
    return makeGuest(join(folder, name), layout);
  };
  const inspect = async (...sources: string[]) =>
    JSON.parse((await unterbau(["inspect", ...sources, "--json"], { env })).stdout.toString()) as InspectDocument;
  const read = async (sources: string[], selector: string) => {
    const r = await unterbau(["read", ...sources, "--volume", selector], { env });
    return { ...r, sha: createHash("sha256").update(r.stdout).digest("hex") };
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "unterbau-sel-"));
    env = { UNTERBAU_STATE_DIR: join(folder, "state") };
    one = await guest("one", "mbr-lvm");
    qcow2 = join(folder, "os43.qcow2");
    await toQcow2(one.disks[0]!, qcow2);
    const plain = join(folder, "plain");
    cutOut(one.disks[0]!, one.root.offset, one.root.size, plain);
    const uuid = (await inspect(qcow2)).volumes.find((v) => v.type === "ext4")!.uuid!;
    root = { uuid, sha: await sha256File(plain) };
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("every form that the documentation names", async () => {
    const forms = [
      "lvg1/lvroot",
      "/dev/lvg1/lvroot",
      "/dev/mapper/lvg1-lvroot",
      `UUID=${root.uuid}`,
      `UUID=${root.uuid.toUpperCase()}`,
      "LABEL=root",
      "os43.qcow2/qcow2/p2/lvm/lvg1/lvroot",
    ];
    for (const form of forms) expect((await read([qcow2], form)).sha, form).toBe(root.sha);
    const swap = (await read([qcow2], "p1")).sha;
    for (const form of ["sda1", "/dev/sda1", "vda1", "disk1:p1", "LABEL=guest-swap", "os43.qcow2/qcow2/p1"]) {
      expect((await read([qcow2], form)).sha, form).toBe(swap);
    }
  });

  it("a name of something that is no volume is explained", async () => {
    const r = await read([qcow2], "p2");
    expect(r.code).toBe(2);
    expect(r.stderr).toMatch(/p2.*lvm-pv.*\nhint: .*lvg1\/lvroot/);
  });

  it("two guests with one name for their groups: both are read, an ambiguous name lists the candidates", async () => {
    const two = await guest("two", "mbr-lvm");
    const sources = [one.disks[0]!, two.disks[0]!];
    const names = (await inspect(...sources)).volumes.filter((v) => v.type === "ext4").map((v) => v.selector);
    expect(names).toHaveLength(2);
    for (const name of names) expect(name).toMatch(/^lvg1@[A-Za-z0-9]{6}\/lvroot$/);
    expect((await read(sources, names[0]!)).sha).toBe(root.sha);
    const ambiguous = await read(sources, "lvg1/lvroot");
    expect(ambiguous.code).toBe(2);
    for (const name of names) expect(ambiguous.stderr).toContain(name);
  });

  it("a clone beside its original: neither is mixed with the other", async () => {
    const sources = [one.disks[0]!, copyOf(one.disks[0]!, join(folder, "clone.raw"))];
    const names = (await inspect(...sources)).volumes.filter((v) => v.type === "ext4").map((v) => v.selector);
    for (const [i, name] of names.entries()) {
      expect(name).toMatch(new RegExp(`^disk${i + 1}:lvg1@`));
      expect((await read(sources, name)).sha).toBe(root.sha);
    }
    expect((await read(sources, "LABEL=root")).code).toBe(2);
  });

  it("a group over two disks, in any order of the sources; its members are nodes of the tree", async () => {
    const { disks } = await guest("over", "mbr-lvm2");
    const [a, b] = await Promise.all([read([...disks], "lvg1/lvroot"), read([...disks].reverse(), "lvg1/lvroot")]);
    expect(a.stdout.length).toBe(48 * 1024 * 1024);
    expect(b.sha).toBe(a.sha);
    const doc = await inspect(...disks);
    const ids = (nodes: readonly NodeDocument[]): string[] => nodes.flatMap((n) => [n.id, ...ids(n.children)]);
    const members = doc.groups[0]!.details.members as string[];
    expect(members).toHaveLength(2);
    for (const id of members) expect(ids(doc.tree)).toContain(id);
  });

  it("one disk under two names is refused", async () => {
    const link = join(folder, "link.raw");
    symlinkSync(one.disks[0]!, link);
    for (const verb of ["inspect", "check"]) {
      const r = await unterbau([verb, one.disks[0]!, link], { env });
      expect([verb, r.code]).toEqual([verb, verb === "check" ? 16 : 2]);
      expect(r.stderr).toContain("named twice");
    }
  });

  it("a volume behind a lock that no key opens is a failure, not a slip of the user", async () => {
    const luks = join(folder, "os43.luks");
    await toLuks1(one.disks[0]!, luks, join(folder, "key"));
    const args = [luks, "--volume", "lvg1/lvroot", "--key-file", "package.json"];
    const r = await unterbau(["check", ...args], { env });
    expect(r.code).toBe(8);
    expect(r.stderr).toMatch(/disk1.*opens no keyslot/);
    expect((await unterbau(["read", ...args], { env })).code).toBe(1);
  });
});
