import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Ajv } from "ajv";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openNbd, parseNbdUri } from "../../src/nbd/client.ts";
import { checkLive } from "../../src/usecases/check-live.ts";
import type { CheckDocument } from "../../src/usecases/documents.ts";
import { findGuest } from "../../src/usecases/guests.ts";
import { openLiveView } from "../../src/usecases/live-view.ts";
import { bundleScript } from "../faults/bundle.ts";
import { COUNTERS, makeBootable } from "../helpers/boot-code.ts";
import { must, run, unterbau } from "../helpers/cli.ts";
import { copyOf, damage, type Guest, makeGuest } from "../helpers/guest.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { qemuDomain, type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";

const UUID = uuidOf(1);
let daemon: SessionDaemon;
let sound: Guest;
let disk: string;
/** A tmpfs (needs root). */
let scratch: string;
let state: string;
const before = process.env.UNTERBAU_STATE_DIR;

beforeAll(async () => {
  daemon = await startSessionDaemon();
  sound = await makeGuest(daemon.folder, "mbr-ext4");
  disk = join(daemon.folder, "web.raw");
  scratch = join(daemon.folder, "memory");
  mkdirSync(scratch);
  await must("mount", ["-t", "tmpfs", "-o", "size=160m,mode=0755", "unterbau-test", scratch]);
  state = join(daemon.folder, "state");
  process.env.UNTERBAU_STATE_DIR = state;
});
afterAll(async () => {
  if (before === undefined) delete process.env.UNTERBAU_STATE_DIR;
  else process.env.UNTERBAU_STATE_DIR = before;
  if (scratch) await run("umount", [scratch]);
  await daemon?.end();
});

/** A guest that writes its two counters 18 times a second. */
async function start(prepare: () => Promise<unknown> = async () => {}): Promise<void> {
  copyOf(sound.disks[0]!, disk);
  await prepare();
  makeBootable(disk);
  daemon.handOver(disk);
  const xml = join(daemon.folder, "web.xml");
  writeFileSync(xml, qemuDomain("web", UUID, fileDisk(disk, "raw")));
  await daemon.virsh("define", xml);
  await daemon.virsh("start", UUID);
}
afterEach(async () => {
  await run("virsh", ["-c", daemon.uri, "destroy", UUID]);
  await run("virsh", ["-c", daemon.uri, "undefine", UUID]);
});

const cli = (...args: string[]) =>
  unterbau(["check", "vm:web", "--live", "--scratch", scratch, ...args, "--connect", daemon.uri]);
const keys = { secretsFor: async () => [] };
const theGuest = () => findGuest("web", { connect: daemon.uri });
const hasBackup = async () => (await run("virsh", ["-c", daemon.uri, "backup-dumpxml", UUID])).code === 0;

async function expectNothingLeft(): Promise<void> {
  expect(await daemon.virsh("domstate", UUID)).toContain("running");
  expect(await hasBackup()).toBe(false);
  expect(readdirSync(scratch)).toEqual([]);
  expect(existsSync(join(state, "live")) ? readdirSync(join(state, "live")) : []).toEqual([]);
}

function counters(): [number, number] {
  const fd = openSync(disk, "r");
  const sector = Buffer.alloc(4);
  const [a, b] = COUNTERS.map((lba) => {
    readSync(fd, sector, 0, 4, lba * 512);
    return sector.readUInt32LE(0);
  });
  closeSync(fd);
  return [a!, b!];
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await wait(20);
}

describe("check --live", () => {
  it("finds a running guest clean, and leaves it running with nothing behind", async () => {
    await start();
    const { code, stdout, stderr } = await cli("--json");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const doc = JSON.parse(stdout.toString()) as CheckDocument;
    expect(doc).toMatchObject({ mode: "live", live: { guest: "web", uuid: UUID, quiesced: false } });
    expect(doc.volumes.map((v) => [v.selector, v.verdict])).toEqual([["p2", "clean"]]);
    const schema = JSON.parse(readFileSync("docs/schemas/check.json", "utf8")) as object;
    expect(new Ajv({ strict: true, allowUnionTypes: true }).validate(schema, doc)).toBe(true);
    await expectNothingLeft();
  });

  it("tells errors, which need a maintenance window", async () => {
    await start(() => damage(disk, sound.root.offset));
    const { code, stdout } = await cli("--json");
    const doc = JSON.parse(stdout.toString()) as CheckDocument;
    expect({ code, verdicts: doc.volumes.map((v) => v.verdict) }).toEqual({ code: 4, verdicts: ["errors"] });
    expect(doc.volumes[0]!.reason).toContain("maintenance window");
    await expectNothingLeft();
    const list = await unterbau(["list", "--json", "--connect", daemon.uri]);
    expect(JSON.parse(list.stdout.toString()).guests[0].disks[0].lastCheck).toMatchObject({
      mode: "live",
      verdict: "errors",
    });
  });

  it("does not take errors for proven where no journal makes an instant whole", async () => {
    await start(async () => {
      const file = `${disk}?offset=${sound.root.offset}`;
      await must("tune2fs", ["-O", "^has_journal", file]);
      await damage(disk, sound.root.offset);
    });
    const { code, stdout } = await cli("--json");
    const doc = JSON.parse(stdout.toString()) as CheckDocument;
    expect({ code, verdict: doc.volumes[0]!.verdict }).toEqual({ code: 8, verdict: "not-checked" });
    expect(doc.volumes[0]!.reason).toContain("it has no journal");
  });

  it("sees one instant, whatever the guest goes on to write", async () => {
    await start();
    await until(() => counters()[0] > 0);
    await using view = await openLiveView(await theGuest(), { quiesce: false, scratch });
    const { socketPath, exportName } = parseNbdUri(view.sources[0]!);
    await using device = await openNbd({ socketPath, exportName });
    const seen = async () => {
      const sector = Buffer.alloc(512);
      const values: number[] = [];
      for (const lba of COUNTERS) {
        await device.read(sector, lba * 512);
        values.push(sector.readUInt32LE(0));
      }
      return values;
    };
    const [a, b] = await seen();
    // The second is written after the first.
    expect([0, 1]).toContain(a! - b!);
    const now = counters()[1];
    await until(() => counters()[1] > now + 9);
    expect(await seen()).toEqual([a, b]);
    expect(await view.broken()).toBeNull();
  });

  it("gives no verdict on what broke off", async () => {
    await start();
    const abort = () => void spawnSync("virsh", ["-q", "-c", daemon.uri, "domjobabort", UUID]);
    const options = {
      sources: ["vm:web"],
      keys,
      connect: daemon.uri,
      volumes: [],
      repair: false,
      preen: false,
      force: false,
    };
    for (const on of [{ volume: abort }, { output: abort }]) {
      const outcome = await checkLive({ ...options, timeoutMs: 60_000, quiesce: false, scratch, on }).then(
        (doc) => [doc.exitCode, ...doc.volumes.map((v) => v.verdict)].join(),
        (error: Error) => error.message,
      );
      expect(outcome).toMatch(/^8,snapshot-invalid$|^the view of the guest broke off/);
    }
    await expectNothingLeft();
  });

  it("gives the view up before there is no room for what the guest writes", async () => {
    await start();
    await using view = await openLiveView(await theGuest(), { quiesce: false, scratch });
    const filler = join(scratch, "filler");
    writeFileSync(filler, Buffer.alloc(150 * 2 ** 20));
    await until(async () => !(await hasBackup()));
    expect(await view.broken()).toContain("more than there is room for");
    rmSync(filler);
    const now = counters()[0];
    // No write of the guest's has failed.
    await until(() => counters()[0] > now);
  });

  it("is refused where the guest's bytes would come to rest in the clear, or without an agent to freeze it", async () => {
    await start();
    const plain = await unterbau(["check", "vm:web", "--live", "--scratch", daemon.folder, "--connect", daemon.uri]);
    expect(plain).toMatchObject({ code: 8, stderr: expect.stringContaining("is not encrypted") });
    const agent = await cli("--quiesce");
    expect(agent).toMatchObject({ code: 8, stderr: expect.stringMatching(/cannot be quiesced.*agent/) });
    await expectNothingLeft();
    for (const more of ["--repair", "--shutdown"]) expect((await cli(more)).code).toBe(16);
    await daemon.virsh("destroy", UUID);
    expect(await cli()).toMatchObject({ code: 16, stderr: expect.stringContaining("is shut off") });
  });
});

describe("a command that is killed while it looks at a running guest", () => {
  const script = bundleScript("live-child.ts");
  afterAll(() => script.cleanup());
  let child: ReturnType<typeof spawn>;
  beforeEach(async () => {
    await start();
    child = spawn(process.execPath, [script.path, daemon.uri, scratch], { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout!, "data");
    expect(await hasBackup()).toBe(true);
  });
  const kill = async () => {
    child.kill("SIGKILL");
    await once(child, "exit");
  };

  it("has its guardian end the view", async () => {
    await kill();
    await until(async () => !(await hasBackup()));
    await until(() => readdirSync(join(state, "live")).length === 0);
    await expectNothingLeft();
  });

  it("without a guardian the next command ends it", async () => {
    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ");
    const guardian = children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("unterbau-guardian"));
    process.kill(Number(guardian), "SIGKILL");
    await kill();
    expect(await hasBackup()).toBe(true);
    const { code, stderr } = await unterbau(["inspect", "vm:web", "--connect", daemon.uri]);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("a view of the guest web that was cut off is ended now"),
    });
    await expectNothingLeft();
  });
});
