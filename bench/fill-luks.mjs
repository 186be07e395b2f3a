// Copies what a qcow2 image has allocated into a LUKS container: `fill-luks.mjs QCOW2 CONTAINER KEYFILE`. The rest of the container stays what
// it was, noise to its guest, as on a disk that was encrypted when it was new: a file of the size of its data, not of the disk.
import { readFileSync } from "node:fs";
import { DEFAULT_LIMITS, openFileDevice, openStack, PathGate } from "../dist/lib/index.js";

const [source, target, keyFile] = process.argv.slice(2);
const secret = { bytes: readFileSync(keyFile), origin: "file" };
const context = {
  keys: { secretsFor: async ({ attempt }) => (attempt === 1 ? [secret] : []) },
  limits: DEFAULT_LIMITS,
  gate: new PathGate([]),
  openFile: () => Promise.reject(new Error("no other file")),
};

async function open(path, format, writable) {
  const device = openFileDevice(path, { writable });
  const stack = await openStack([{ name: path, kind: "file", path, device, format, details: {} }], {
    ...context,
    writable,
  });
  return { device, stack, root: stack.tree.roots[0].children[0] };
}

const from = await open(source, "qcow2", false);
const to = await open(target, "raw", true);
const read = from.root.content;
const write = to.root.kind.startsWith("luks") ? to.root.content : to.root.children[0].content;
const buffer = new Uint8Array(4 * 1024 * 1024);
for await (const extent of read.extents(0, read.size)) {
  if (extent.kind !== "data") continue;
  const end = extent.offset + extent.length;
  for (let at = extent.offset; at < end; at += buffer.length) {
    const bytes = buffer.subarray(0, Math.min(buffer.length, end - at));
    await read.read(bytes, at);
    await write.write(bytes, at);
  }
}
await write.flush();
for (const { stack, device } of [to, from]) {
  await stack[Symbol.asyncDispose]();
  await device[Symbol.asyncDispose]();
}
