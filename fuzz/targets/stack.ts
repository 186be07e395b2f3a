import { PathGate } from "../../src/stack/gate.ts";
import { openStack } from "../../src/stack/resolver.ts";
import type { TreeNode } from "../../src/stack/tree.ts";
import { type Input, Sparse } from "../engine/sparse.ts";
import type { Target } from "../engine/target.ts";
import { type Meter, watchedDevice } from "../engine/watched.ts";
import { fixChecksums } from "../fixers/index.ts";
import { seedsNamed } from "../seeds.ts";
import { FUZZ_LIMITS, ONE_KEY } from "./context.ts";
import { exerciseDevice, tolerant } from "./exercise.ts";

const MAX_NODES = 40;

/** Lets every name through; what it names is the input itself, so that chains of any shape come about. */
class OpenGate extends PathGate {
  override resolve(reference: string): string {
    return reference;
  }
}

/** All disks of an input as one guest, through everything that `inspect` does, and a look into every volume. */
async function open(input: Input, meter: Meter): Promise<void> {
  const devices = input.map((part, i) => watchedDevice(part, meter, i));
  const sources = devices.map((device, i) => ({
    name: `disk${i}.img`,
    kind: "file" as const,
    path: `/fuzz/disk${i}.img`,
    device,
    format: null,
    details: {},
  }));
  await using stack = await openStack(sources, {
    writable: false,
    keys: ONE_KEY,
    limits: FUZZ_LIMITS,
    gate: new OpenGate(),
    openFile: async (path) => {
      const part = path.length % input.length;
      return watchedDevice(input[part]!, meter, part);
    },
  });
  const nodes = [...stack.tree.roots, ...stack.tree.groups].flatMap(flat).slice(0, MAX_NODES);
  JSON.stringify(nodes.map(({ details, findings }) => ({ details, findings })));
  for (const { device } of nodes) if (device) await tolerant(() => exerciseDevice(device, false));
}

function flat(node: TreeNode): TreeNode[] {
  return [node, ...node.children.flatMap(flat)];
}

/** A partition table with another seed in its first partition. */
function nested(): Input[] {
  const [table] = seedsNamed("gpt-plain");
  return ["lvm-linear", "ext-4", "fat-16", "luks-2", "gpt-plain"].flatMap((name) =>
    seedsNamed(name)
      .slice(0, 1)
      .map((inner): Input => {
        const disk = table![0]!.clone();
        const partition = 1024 * 1024;
        for (const page of inner[0]!.pages()) disk.write(partition + page * 4096, inner[0]!.read(page * 4096, 4096));
        return [disk];
      }),
  );
}

export const stackTarget: Target = {
  name: "stack",
  seeds: () => [...seedsNamed(""), ...nested(), [new Sparse(1 << 20)]],
  fix: fixChecksums,
  run: open,
};
