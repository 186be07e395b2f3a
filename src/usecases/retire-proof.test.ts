import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { recordCheck } from "../host/check-store.ts";
import type { Migration } from "../host/migration-store.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import type { Guest } from "./guests.ts";
import { proofOfClone, startsIn } from "./retire-proof.ts";

const FINISHED = "2026-11-24T10:00:00.000Z";
let folder: string;
let target: string;
let before: string | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-proof-"));
  target = join(folder, "mail.luks");
  writeFileSync(target, "");
  before = process.env.UNTERBAU_STATE_DIR;
  process.env.UNTERBAU_STATE_DIR = join(folder, "state");
});
afterEach(() => {
  if (before === undefined) delete process.env.UNTERBAU_STATE_DIR;
  else process.env.UNTERBAU_STATE_DIR = before;
  rmSync(folder, { recursive: true });
});

const clone = { name: "mail-luks", domain: { disks: [] } } as unknown as Guest;
const migration = (at: string | undefined = FINISHED): Migration =>
  ({
    plan: { disks: [{ disk: "vda", target: { kind: "file", path: target } }], clone: { name: "mail-luks" } },
    steps: new Map([["finish", { state: "done", facts: at === "" ? {} : { at } }]]),
  }) as unknown as Migration;

/** As libvirt writes it (src/qemu/qemu_process.c); `guest` is what the guest's own programs could get into QEMU's messages. */
function started(...times: string[]): void {
  const path = join(folder, "cache/libvirt/qemu/log");
  mkdirSync(path, { recursive: true });
  const lines = times.map(
    (t) => `${t}: starting up libvirt version: 9.0.0, package: 9.0.0-4, qemu version: 7.2\nLC_ALL=C \\\n`,
  );
  writeFileSync(join(path, "mail-luks.log"), `${lines.join("")}2026-11-24 23:59:59.999+0000: shutting down\n`);
}
function checked(at: string, verdict = "clean", mode: "preview" | "live" = "preview", complete = true): void {
  recordCheck(sourceIdentity(target), { checked: at, mode, verdict, volumes: { [verdict]: 1 }, complete });
}
const proof = (m = migration(), guest: Guest | null = clone) =>
  proofOfClone(m, guest, { XDG_CACHE_HOME: join(folder, "cache") });

describe("that the copy was started, and whole after that", () => {
  it("is shown by QEMU's log and a check after it", () => {
    started("2026-11-24 09:59:00.000+0000", "2026-11-24 10:05:00.123+0000");
    checked("2026-11-24T10:10:00.000Z");
    expect(proof()).toEqual({
      missing: null,
      proof: {
        finished: FINISHED,
        booted: { at: "2026-11-24T10:05:00.123Z", by: "qemu-log" },
        checked: { at: "2026-11-24T10:10:00.000Z", mode: "preview", verdict: "clean" },
      },
    });
  });

  it("is shown by a check of it as it runs", () => {
    checked("2026-11-24T10:10:00.000Z", "clean", "live");
    expect(proof()).toMatchObject({ missing: null, proof: { booted: { by: "live-check" } } });
  });

  it.each<[what: string, arrange: () => void, missing: RegExp]>([
    ["no check", () => started("2026-11-24 10:05:00.000+0000"), /was not checked since/],
    ["a check before the migration ended", () => checked("2026-11-24T09:00:00.000Z", "clean", "live"), /not checked/],
    ["a check, but never started", () => checked("2026-11-24T10:10:00.000Z"), /was started .* is not shown/],
    [
      "started before the migration ended only",
      () => {
        started("2026-11-24 09:59:00.000+0000");
        checked("2026-11-24T10:10:00.000Z");
      },
      /is not shown/,
    ],
    [
      "checked, then started",
      () => {
        checked("2026-11-24T10:10:00.000Z");
        started("2026-11-24 10:11:00.000+0000");
      },
      /was started after its last check/,
    ],
    ["errors", () => checked("2026-11-24T10:10:00.000Z", "errors", "live"), /came to errors/],
    ["repaired", () => checked("2026-11-24T10:10:00.000Z", "repaired", "live"), /came to repaired/],
    ["some volumes only", () => checked("2026-11-24T10:10:00.000Z", "clean", "live", false), /some volumes only/],
  ])("is not shown: %s", (_, arrange, missing) => {
    arrange();
    expect(proof().missing).toMatch(missing);
  });

  it("is not shown without the time of the end, or without the copy", () => {
    checked("2026-11-24T10:10:00.000Z", "clean", "live");
    expect(proof(migration("")).missing).toMatch(/was not written down/);
    expect(proof(migration(), null).missing).toMatch(/is not defined any more/);
  });

  it("takes only libvirt's own lines of a log", () => {
    expect(startsIn("x 2026-11-24 10:05:00.000+0000: starting up libvirt version: 9\n")).toEqual([]);
    expect(startsIn("2026-11-24 10:05:00.000+0100: starting up libvirt version: 9\n")).toEqual([]);
  });
});
