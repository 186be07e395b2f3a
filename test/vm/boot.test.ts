import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { BootDocument } from "../../src/usecases/boot-documents.ts";
import { mustInMachine } from "./machine.ts";

const folder = mkdtempSync(join(tmpdir(), "unterbau-boot-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("a host that systemd boots does not wait for the passphrase; given it, the guest is started", async () => {
  const output = await mustInMachine({
    script: readFileSync("test/vm/scripts/boot.sh", "utf8"),
    booted: readFileSync("test/vm/scripts/booted.sh", "utf8"),
    disks: ["d1", "d2"].map((name) => ({ name, path: join(folder, name), size: 48 << 20 })),
    share: folder,
    unterbau: true,
    limit: 850,
  });
  const doc = JSON.parse(readFileSync(join(folder, "enable.json"), "utf8")) as BootDocument;
  expect(doc.enabled).toBe(true);
  // The machine has no daemon of libvirt's, and the guest is one of its test driver.
  expect(doc.steps.filter(({ ok }) => !ok).map(({ kind }) => kind)).toEqual(["libvirt"]);
  expect(output).toMatch(/^mail-crypt UUID=\S+ none luks,noauto,nofail$/m);
  // The boot is over, and the guest's unit waits.
  expect(output).toContain("booted: active, guest inactive, waiting");
  expect(output).toMatch(/^asked: .*\((mail-crypt|images)\)/m);
  expect(output).toContain("answered, guest active");
  expect(output).toMatch(/guest mail: started/);
  expect(output).toContain("closed");
}, 900_000);
