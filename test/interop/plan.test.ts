import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StorageError } from "../../src/core/errors.ts";
import { makePlan, type PlanOptions } from "../../src/plan/make.ts";
import type { Plan } from "../../src/plan/model.ts";
import { isVolumeOf, lvmName, mapperName, plainPath } from "../../src/plan/names.ts";
import type { Place, SourcePlace, Target, VolumeGroup } from "../../src/plan/places.ts";
import { comment, quote } from "../../src/plan/quote.ts";
import { planScript } from "../../src/plan/script.ts";

const OPTIONS: PlanOptions = {
  tag: "unterbau-test",
  work: "/run/unterbau/unterbau-test",
  sources: ["/disk"],
  guests: [],
  inside: [],
  repair: false,
  keyFile: () => null,
  nameInUse: () => false,
  groupActive: () => false,
  hidden: [],
};
const MIB = 1024 * 1024;
const UUID = "4e6d1f1c-8a7d-4b8e-9b43-000000000001";
const id = (n: number) => `aaaaaa-bbbb-cccc-dddd-eeee-ffff-00000${n}`;
const disk = (path: string): SourcePlace => ({ kind: "source", path, block: false });
const group = (name: string, place: Place, stateful: readonly string[] = []): VolumeGroup => ({
  name,
  uuid: id(1),
  members: [{ place, uuid: id(2), size: 40 * MIB, dataStart: MIB, dataEnd: 37 * MIB }],
  stateful,
});
const root = (place: Place, type: string | null = "ext4"): Target => ({ selector: "root", type, place });
const steps = (plan: Plan) => plan.steps.map((s) => s.id);

/** What the shell makes of the words that follow `command` in a script: one argument each. */
function argumentsOf(script: string, command: string): string[] {
  const line = script.split("\n").find((l) => l.trim().startsWith(`${command} `))!;
  const probe = `loop1=/dev/loop1 nbd1=/dev/nbd1\nprogram() { for a; do printf '%s\\0' "$a"; done; }\n`;
  const out = execFileSync("sh", ["-c", `${probe}${line.trim().replace(command, "program")}`], { encoding: "utf8" });
  return out.split("\0").slice(0, -1);
}

describe("words of the shell", () => {
  it("come back as they were, whatever is in them", () => {
    const hostile = fc.array(
      fc.constantFrom(
        "'",
        '"',
        "$",
        "`",
        "\\",
        " ",
        "\n",
        "!",
        "*",
        "?",
        "~",
        "#",
        ";",
        "&",
        "|",
        "<",
        ">",
        "(",
        ")",
        "{",
        "}",
        "-",
        "=",
        "a",
        "é",
        "[",
        "]",
        "^",
        "%",
        "\t",
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(
        fc.array(
          hostile.map((c) => c.join("")),
          { minLength: 1, maxLength: 40 },
        ),
        (texts) => {
          const script = `p() { for a; do printf '%s\\0' "$a"; done; }\np ${texts.map(quote).join(" ")}`;
          const out = execFileSync("sh", ["-c", script], { encoding: "utf8" });
          expect(out.split("\0").slice(0, -1)).toEqual(texts);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("are no tilde, no pattern, not nothing", () => {
    for (const text of ["a=~", "~root", "~", "", "a b", "{a,b}", "*"]) expect(quote(text)).toMatch(/^'.*'$/);
  });

  it("stay in their comment", () => {
    expect(comment("a\nrm -rf /\r\u2028")).not.toMatch(/[\n\r]/);
  });
});

describe("names from a guest", () => {
  it("are LVM's, or refused by name", () => {
    expect(lvmName("vg-0.A_+b")).toBe("vg-0.A_+b");
    for (const bad of ["", "-x", ".", "..", "a/b", "a b", "a'b", "$(x)", "a\nb", "ä", "a,b", 'a"]', "x".repeat(128)])
      expect(() => lvmName(bad)).toThrow(StorageError);
    expect(() => plainPath("/a\nb")).toThrow(/a\\x0ab/);
  });

  it("are doubled hyphens for device mapper, and no other group's", () => {
    expect(mapperName("a-b")).toBe("a--b");
    expect(isVolumeOf("a-lv", "a")).toBe(true);
    expect(isVolumeOf("a--b-lv", "a")).toBe(false);
    expect(isVolumeOf("a--b-lv", "a-b")).toBe(true);
    expect(isVolumeOf("ab-lv", "a")).toBe(false);
  });
});

describe("a plan", () => {
  const paths = [`/d/a'; touch /tmp/pwned; '.raw`, "/d/$(touch x)`id`.raw", '/d/ -rf * ~ \\ " #.raw', "/d/%s%n.raw"];
  for (const path of paths) {
    it(`gives ${JSON.stringify(path)} to the programs as it is`, () => {
      const slice: Place = { kind: "slice", of: disk(path), name: "p1", offset: 1048576, size: 2 * MIB };
      const script = planScript(makePlan([{ ...root(slice), selector: "x\nrm -rf /" }], OPTIONS), ["t\nreboot"]);
      expect(argumentsOf(script, "losetup")).toEqual([
        "--read-only",
        "--offset",
        "1048576",
        "--sizelimit",
        "2097152",
        "/dev/loop1",
        path,
      ]);
      const image: Place = { kind: "image", of: disk(path), format: "qcow2" };
      const served = planScript(makePlan([root(image)], OPTIONS), []);
      expect(argumentsOf(served, "serve").slice(1)).toEqual([
        "qemu-nbd",
        "--verbose",
        "--read-only",
        "--cache=writeback",
        "--format=qcow2",
        "--connect=/dev/nbd1",
        path,
      ]);
      const luks: Place = {
        kind: "luks",
        of: { kind: "source", path, block: true },
        uuid: UUID,
        header: path,
        opened: "k",
      };
      const opened = planScript(makePlan([root(luks)], { ...OPTIONS, keyFile: () => path }), []);
      expect(argumentsOf(opened, "cryptsetup")).toEqual([
        "open",
        "--key-file",
        path,
        "--type",
        "luks",
        "--readonly",
        "--header",
        path,
        path,
        "unterbau-test-crypt1",
      ]);
      for (const text of [script, served, opened]) {
        execFileSync("sh", ["-n"], { input: text });
        expect(text).not.toMatch(/^\s*(rm -rf|reboot|touch)/m);
      }
    });
  }

  it("works offsets out", () => {
    const slice: Place = { kind: "slice", of: disk("/disk"), name: "p2", offset: 2154823680, size: MIB };
    expect(planScript(makePlan([root(slice)], OPTIONS), [])).toContain("4208640 * 512 = 2154823680");
  });

  it("opens each place once, and undoes in reverse order", () => {
    const luks: Place = { kind: "luks", of: disk("/disk"), uuid: UUID, header: null, opened: "" };
    const a: Place = { kind: "slice", of: luks, name: "p1", offset: MIB, size: MIB };
    const b: Place = { kind: "slice", of: luks, name: "p2", offset: 2 * MIB, size: MIB };
    const plan = makePlan([root(a), root(b), root(a)], OPTIONS);
    expect(steps(plan)).toEqual(["folder", "loop1", "crypt1", "loop2", "loop3"]);
    const undo = planScript(plan, []).split("undo() {")[1]!;
    const order = [...undo.matchAll(/losetup --detach "\$(loop\d)"|(cryptsetup close)|(rmdir)/g)].map(
      (m) => m[1] ?? m[2] ?? m[3],
    );
    expect(order).toEqual(["loop3", "loop2", "cryptsetup close", "loop1", "rmdir"]);
  });

  it("renames a group whose name is taken in a copy of its metadata only", () => {
    const pv = disk("/disk");
    const plan = makePlan([root({ kind: "volume", group: group("lvg1", pv), name: "lvroot" })], {
      ...OPTIONS,
      repair: true,
      nameInUse: () => true,
    });
    expect(steps(plan)).toEqual(["folder", "loop1", "metadata1", "loop2", "rename1", "joined1", "group1"]);
    const text = (id: string) => JSON.stringify(plan.steps.find((s) => s.id === id)!.act);
    // Whatever writes LVM metadata is given the copy, and only that.
    expect(text("rename1")).toContain('"--devices"],[{"ref":"loop2"}]');
    expect(text("rename1")).not.toContain("loop1");
    expect(text("joined1")).toContain("unterbau-test-joined1,,,rw,0 2048 linear ");
    expect(text("joined1")).toContain(" 0,2048 73728 linear ");
    expect(text("joined1")).toContain(",75776 6144 linear ");
    expect(plan.checks[0]!.device.join("")).toBe("/dev/mapper/unterbau_test_lvg1-lvroot");
  });

  it("refuses a group that is active itself, when it is planned and when it is done", () => {
    const volume: Place = { kind: "volume", group: group("g", disk("/d")), name: "lv" };
    expect(() => makePlan([root(volume)], { ...OPTIONS, groupActive: (uuid) => uuid === id(1) })).toThrow(
      /itself, or a clone/,
    );
    const script = planScript(makePlan([root(volume)], { ...OPTIONS, nameInUse: () => true }), []);
    // Before each command to LVM that changes a group or activates it, and before the step counts as begun.
    const guard = "! known LVM-aaaaaabbbbccccddddeeeeffff000001 || fail";
    expect(script.split("\n").filter((line) => line.includes(guard))).toHaveLength(2);
    const order = ["! known", "reached=5", "vgrename"].map((text) => script.indexOf(text));
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });

  it("refuses by name what a kernel would write to", () => {
    const volume: Place = { kind: "volume", group: group("g", disk("/d"), ["thin-pool"]), name: "lv" };
    expect(() => makePlan([root(volume)], OPTIONS)).toThrow(
      expect.objectContaining({ code: "unsupported", feature: "a group with a thin-pool volume without --repair" }),
    );
    expect(steps(makePlan([root(volume)], { ...OPTIONS, repair: true }))).toContain("group1");
    const array: Place = {
      kind: "array",
      name: "a",
      uuid: "00000000:00000000:00000000:00000000",
      members: [disk("/d")],
    };
    expect(() => makePlan([root(array)], OPTIONS)).toThrow(
      expect.objectContaining({ feature: "an md array without --repair" }),
    );
    // A name that mdadm takes, for the tag of a run-plan, too: at most 32 characters.
    const tag = "unterbau-20261124-162836-c728e3";
    const made = makePlan([root(array)], { ...OPTIONS, repair: true, tag }).steps.find((s) => s.id === "array1")!;
    expect(made.probe).toEqual({ kind: "path", path: "/dev/md/unterbau-c728e3-array1" });
  });

  it("keeps udev from the guest's members, by UUIDs that are UUIDs", () => {
    const hidden = [{ type: "LVM2_member", uuid: id(3) }] as const;
    const plan = makePlan([root(disk("/d"))], { ...OPTIONS, hidden });
    expect(steps(plan).slice(0, 2)).toEqual(["folder", "rules"]);
    const bad = [{ type: "LVM2_member", uuid: `x", RUN+="/bin/sh` }] as const;
    expect(() => makePlan([root(disk("/d"))], { ...OPTIONS, hidden: bad })).toThrow(StorageError);
  });

  it("says that nothing checks an unknown type", () => {
    const plan = makePlan([root(disk("/d"), null)], OPTIONS);
    expect(plan.checks[0]).toMatchObject({ argv: null, unattended: null });
    expect(planScript(plan, [])).toContain("it is there as $loop1 at this point");
  });
});
