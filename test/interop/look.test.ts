import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openSource } from "../../src/host/open-source.ts";
import { sourceIdentity } from "../../src/host/source-identity.ts";

let directory: string;
let image: string;
beforeEach(() => {
  // Of a file system on a block device, where the quick way is taken.
  directory = mkdtempSync(join(tmpdir(), "unterbau-look-"));
  image = join(directory, "disk.raw");
  execFileSync("qemu-img", ["create", "-q", "-f", "raw", image, "8M"]);
});
afterEach(() => rmSync(directory, { recursive: true }));

const look = () => openSource(sourceIdentity(image), "look");
const qemuWrites = () => execFileSync("qemu-io", ["-f", "raw", "-c", "write 0 512", image], { stdio: "ignore" });

it("a look does not keep a guest from starting, and tells that one has written", async () => {
  const { file, confirm } = await look();
  confirm();
  qemuWrites();
  expect(confirm).toThrow(
    expect.objectContaining({ code: "locked", message: expect.stringContaining("was written to") }),
  );
  await file[Symbol.asyncDispose]();
  const again = await look();
  again.confirm();
  await again.file[Symbol.asyncDispose]();
});

it("a look is refused while QEMU writes, and is not beside one that reads", async () => {
  const open = async (args: string[]) => {
    const child = spawn("qemu-io", ["-f", "raw", ...args, image], { stdio: ["pipe", "pipe", "inherit"] });
    child.stdin.write("length\n");
    await new Promise<void>((resolve) =>
      child.stdout.on("data", (text: Buffer) => text.toString().includes("MiB") && resolve()),
    );
    return async () => {
      child.stdin.end("quit\n");
      await new Promise((resolve) => child.once("close", resolve));
    };
  };
  const closeWriter = await open([]);
  try {
    await expect(look()).rejects.toMatchObject({ code: "locked", message: expect.stringContaining("qemu-io") });
  } finally {
    await closeWriter();
  }
  const closeReader = await open(["-r"]);
  try {
    const { file, confirm } = await look();
    confirm();
    await file[Symbol.asyncDispose]();
  } finally {
    await closeReader();
  }
});
