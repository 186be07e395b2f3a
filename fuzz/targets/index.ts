import type { Target } from "../engine/target.ts";
import { extfsTarget } from "./extfs.ts";
import { recogniseTarget } from "./filesystems.ts";
import { layerTargets } from "./layers.ts";
import { selfTargets } from "./self.ts";
import { stackTarget } from "./stack.ts";
import { streamTargets } from "./streams.ts";
import { undoLogTarget } from "./undo-log.ts";

/** Every parser that meets bytes of a guest or a peer. */
export const TARGETS: readonly Target[] = [
  ...layerTargets(),
  recogniseTarget,
  extfsTarget,
  stackTarget,
  ...streamTargets,
  undoLogTarget,
];

export function targetNamed(name: string): Target {
  const target = [...TARGETS, ...selfTargets].find((t) => t.name === name);
  if (!target) throw new Error(`no target ${name}; there are: ${TARGETS.map((t) => t.name).join(", ")}`);
  return target;
}
