import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { CheckDocument } from "../../src/usecases/documents.ts";
import { openForInspection } from "../../src/usecases/open-for-reading.ts";
import { openForWriting } from "../../src/usecases/open-for-writing.ts";
import { makeBootable } from "../helpers/boot-code.ts";
import { CLI, run, unterbau } from "../helpers/cli.ts";
import { copyOf, damage, type Guest, makeGuest } from "../helpers/guest.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { qemuDomain, type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";

let daemon: SessionDaemon;
let sound: Guest;
let disk: string;
const UUID = uuidOf(1);
beforeAll(async () => {
  daemon = await startSessionDaemon();
  sound = await makeGuest(daemon.folder, "mbr-ext4");
  disk = join(daemon.folder, "web.raw");
});
afterAll(() => daemon?.end());
afterEach(async () => {
  await run("virsh", ["-c", daemon.uri, "destroy", UUID]);
  await run("virsh", ["-c", daemon.uri, "undefine", UUID]);
});

/** A real QEMU, off, with a small program in place of an operating system that powers off when it is asked to. */
async function define(options: { damaged?: boolean; deaf?: boolean } = {}): Promise<void> {
  copyOf(sound.disks[0]!, disk);
  if (options.damaged) await damage(disk, sound.root.offset);
  makeBootable(disk, options);
  daemon.handOver(disk);
  const xml = join(daemon.folder, "web.xml");
  writeFileSync(xml, qemuDomain("web", UUID, fileDisk(disk, "raw")));
  await daemon.virsh("define", xml);
}

const state = async () => (await daemon.virsh("domstate", UUID)).trim();
const cli = (...args: string[]) =>
  unterbau([...args, "--connect", daemon.uri], { env: { UNTERBAU_STATE_DIR: join(daemon.folder, "state") } });

describe("check --shutdown", () => {
  it("shuts the guest down, finds it clean, starts it again", async () => {
    await define();
    await daemon.virsh("start", UUID);
    const { code, stdout, stderr } = await cli("check", "vm:web", "--shutdown", "--json");
    expect({ code, state: await state() }).toEqual({ code: 0, state: "running" });
    expect(stderr).toContain("the guest web is started again");
    const doc = JSON.parse(stdout.toString()) as CheckDocument;
    const about = {
      name: "web",
      uuid: UUID,
      stateBefore: "running",
      shutDown: "acpi",
      started: true,
      startError: null,
    };
    expect(doc.guests).toEqual([about]);
    const schema = JSON.parse(readFileSync("docs/schemas/check.json", "utf8")) as object;
    expect(new Ajv({ strict: true, allowUnionTypes: true }).validate(schema, doc)).toBe(true);
  });

  it("leaves a guest off whose file system has errors, until they are repaired", async () => {
    await define({ damaged: true });
    await daemon.virsh("start", UUID);
    const preview = await cli("check", "vm:web", "--shutdown");
    expect({ code: preview.code, state: await state() }).toEqual({ code: 4, state: "shut off" });
    expect(preview.stderr).toContain("the guest web stays off; virsh start web starts it");
    // It was off before, so it is not started either.
    expect((await cli("check", "vm:web", "--shutdown")).code).toBe(4);
    expect(await state()).toBe("shut off");
    await daemon.virsh("start", UUID);
    const repair = await cli("check", "vm:web", "--shutdown", "--repair");
    expect({ code: repair.code, state: await state() }).toEqual({ code: 1, state: "running" });
  });

  it("never cuts the power of a guest that does not answer, unless it may", async () => {
    await define({ deaf: true });
    await daemon.virsh("start", UUID);
    const asked = await cli("check", "vm:web", "--shutdown", "--timeout", "1");
    expect(asked).toMatchObject({ code: 8, stderr: expect.stringContaining("did not shut down within 1 s") });
    expect(await state()).not.toBe("shut off");
    const forced = await cli("check", "vm:web", "--shutdown", "--timeout", "1", "--force-off", "--json");
    expect({ code: forced.code, state: await state() }).toEqual({ code: 0, state: "running" });
    expect((JSON.parse(forced.stdout.toString()) as CheckDocument).guests?.[0]?.shutDown).toBe("forced");
  });

  it("does not wait for a guest that cannot answer", async () => {
    await define();
    await daemon.virsh("start", UUID);
    await daemon.virsh("suspend", UUID);
    const paused = await cli("check", "vm:web", "--shutdown");
    expect(paused).toMatchObject({
      code: 8,
      stderr: expect.stringContaining("is paused and cannot shut down by itself"),
    });
    expect(await state()).toBe("paused");
  });

  it("wants a guest", async () => {
    const { code, stderr } = await unterbau(["check", sound.disks[0]!, "--shutdown"]);
    expect({ code, stderr }).toMatchObject({ code: 16, stderr: expect.stringContaining("--shutdown needs a guest") });
  });
});

it("without the right to speak to libvirt: one line and what to do (needs root)", async () => {
  const other = ["--reuid=12345", "--regid=12345", "--clear-groups"];
  const verbs = [["list"], ["check", "vm:web"]];
  for (const verb of verbs) {
    const { code, stderr } = await run("setpriv", [...other, process.execPath, CLI, ...verb, "--connect", daemon.uri]);
    expect(code).toBe(verb[0] === "check" ? 8 : 1);
    expect(stderr.trim().split("\n")).toEqual([
      expect.stringMatching(/^unterbau: libvirt cannot be reached.*Permission denied/),
      "hint: join the group libvirt, or run it with sudo",
    ]);
  }
});

describe("beside a real QEMU", () => {
  it("names the guest that has the disk open", async () => {
    await define();
    await daemon.virsh("start", UUID);
    for (const more of [[], ["--repair"]]) {
      const { code, stderr } = await cli("check", disk, ...more);
      expect(code).toBe(8);
      expect(stderr).toMatch(/web\.raw is in use by qemu-system-x86 \(pid \d+, guest web\)/);
    }
  });

  it("libvirt cannot start the guest while its disks are open here", async () => {
    await define();
    const options = { sources: ["vm:web"], keys: { secretsFor: async () => [] }, connect: daemon.uri };
    for (const open of [() => openForInspection(options), () => openForWriting(options, "check")]) {
      const opened = await open();
      const { code, stderr } = await run("virsh", ["-c", daemon.uri, "start", UUID]);
      await opened[Symbol.asyncDispose]();
      expect(code).not.toBe(0);
      expect(stderr).toContain('Failed to get "write" lock');
      expect(await state()).toBe("shut off");
    }
    await daemon.virsh("start", UUID);
  });
});
