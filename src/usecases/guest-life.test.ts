import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseDomain } from "../libvirt/domain.ts";
import { shutDown } from "./guest-life.ts";
import type { Guest } from "./guests.ts";

const UUID = "00000001-0000-4000-8000-000000000000";
const XML = `<domain type='kvm'><name>web</name><uuid>${UUID}</uuid></domain>`;
const guest: Guest = {
  name: "web",
  uuid: UUID,
  uri: null,
  state: "running",
  managedSave: false,
  persistent: true,
  domain: parseDomain(XML),
};

describe("a guest that is asked to shut down", () => {
  let folder: string;
  const path = process.env.PATH;
  const requests = (): string[] =>
    readFileSync(join(folder, "log"), "utf8")
      .split("\n")
      .filter((line) => line.includes("shutdown"));

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "unterbau-life-"));
    process.env.PATH = `${folder}:${path}`;
  });
  afterEach(() => {
    process.env.PATH = path;
    rmSync(folder, { recursive: true });
  });

  /** A virsh whose guest hears the `heard`th request only. */
  function standIn(heard: number): void {
    const script = `#!/bin/sh
echo "$*" >>${folder}/log
case "$*" in *domstate*) [ "$(grep -c shutdown ${folder}/log)" -ge ${heard} ] && echo "shut off" || echo running;; esac
`;
    writeFileSync(join(folder, "virsh"), script);
    chmodSync(join(folder, "virsh"), 0o755);
  }

  it("is asked again when it was not ready to hear it", async () => {
    standIn(2);
    expect(await shutDown(guest, { timeoutMs: 20_000, forceOff: false, askAgainMs: 100 })).toBe("acpi");
    expect(requests()).toEqual(Array(2).fill(`--quiet shutdown --domain=${UUID} --mode=acpi`));
  });

  it("is asked once when it has the time that it needs", async () => {
    standIn(1);
    expect(await shutDown(guest, { timeoutMs: 20_000, forceOff: false })).toBe("acpi");
    expect(requests()).toHaveLength(1);
  });

  it("is left alone when its time is over", async () => {
    standIn(100);
    const asked = shutDown(guest, { timeoutMs: 700, forceOff: false, askAgainMs: 100 });
    await expect(asked).rejects.toMatchObject({ code: "locked" });
    expect(requests().length).toBeGreaterThan(1);
    expect(readFileSync(join(folder, "log"), "utf8")).not.toContain("destroy");
  });
});
