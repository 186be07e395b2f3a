import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { isatty } from "node:tty";
import { Cleanup } from "../core/cleanup.ts";
import { describeError, StorageError } from "../core/errors.ts";
import type { KeyProvider, KeyRequest, Secret } from "../core/layer.ts";
import { openSource } from "../host/open-source.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import type { Plan, Step } from "../plan/model.ts";
import { withDisks } from "./guest-disks.ts";
import { plan as makePlan, type PlanRequest } from "./plan.ts";
import { PlanJournal } from "./plan-store.ts";
import { takeDown } from "./recover-plan.ts";
import { program, StepRunner } from "./run-steps.ts";

export interface RunPlanDocument {
  readonly schema: "unterbau/run-plan/1";
  readonly plan: string;
  readonly mode: "look" | "repair";
  /** `exitCode` null: nothing checks this type, or a signal ended the checker. */
  readonly checks: readonly { readonly selector: string; readonly type: string; readonly exitCode: number | null }[];
  /** Why the plan was not done to its end. */
  readonly failure: string | null;
  /** What could not be taken down. */
  readonly left: readonly { readonly step: string; readonly reason: string }[];
  /** As fsck(8), OR-ed; 8 for a failure and for what is left. */
  readonly exitCode: number;
}

export interface RunPlanRequest extends Omit<PlanRequest, "tag"> {
  /** Told of each step. */
  readonly progress: (text: string) => void;
  /** Where what the checkers print goes. */
  readonly output: "stdout" | "stderr";
}

const MODPROBE_MS = 60_000;

/** Remembers what was given for which header: the kernel needs it a second time. The provider wipes it. */
class KeptKeys implements KeyProvider {
  readonly #keys: KeyProvider;
  readonly #given = new Map<string, Secret[]>();

  constructor(keys: KeyProvider) {
    this.#keys = keys;
  }

  async secretsFor(request: KeyRequest): Promise<readonly Secret[]> {
    const secrets = await this.#keys.secretsFor(request);
    this.#given.set(request.uuid, [...secrets, ...(this.#given.get(request.uuid) ?? [])]);
    return secrets;
  }

  of(uuid: string): readonly Uint8Array[] {
    return (this.#given.get(uuid) ?? []).map(({ bytes }) => bytes);
  }
}

/** Makes the plan and does it: with the kernel, as root, each step written down before it is done, all of it taken down in the end. */
export async function runPlan(request: RunPlanRequest): Promise<RunPlanDocument> {
  if (process.geteuid?.() !== 0) {
    throw new StorageError("usage", "only root may ask the kernel to open disks", {
      layer: "plan",
      hint: "sudo, or check, exec and export, which need no root",
    });
  }
  const keys = new KeptKeys(request.keys);
  const tag = `unterbau-${new Date()
    .toISOString()
    .replace(/[-:]|\..*/g, "")
    .replace("T", "-")}-${randomBytes(3).toString("hex")}`;
  const plan = await makePlan({ ...request, keys, tag });
  await needs(plan);
  await using held = new Cleanup();
  for (const name of plan.sources) {
    const identity = sourceIdentity(name);
    const served = plan.steps.some((s) => s.probe.kind === "nbd" && s.probe.file.join("") === identity.realpath);
    // qemu-nbd locks what it serves itself; the kernel keeps block devices. A raw file would be guarded by nobody.
    if (identity.kind === "file" && !served)
      held.use((await openSource(identity, request.repair ? "write" : "read")).file);
  }
  // What is locked now cannot be started any more; what cannot be locked is looked at as late as possible.
  if (plan.guests.length > 0) await withDisks(request, request.repair ? "write" : "read");
  const journal = PlanJournal.create(request.runDir, plan);
  const begun = new Set<Step>();
  using runner = new StepRunner(plan, new Map(), (uuid) => keys.of(uuid));
  const checks: { selector: string; type: string; exitCode: number | null }[] = [];
  let failure: unknown = null;
  try {
    for (const step of plan.steps) {
      request.signal?.throwIfAborted();
      request.progress(step.title);
      await runner.act(
        step,
        (chosen) => {
          journal.begin(step.id, chosen);
          begun.add(step);
        },
        request.signal,
      );
    }
    for (const { selector, type, argv, unattended } of plan.checks) {
      request.signal?.throwIfAborted();
      const command = isatty(0) ? argv : unattended;
      request.progress(`${selector}: ${type}`);
      const { output: inherit, signal } = request;
      const words = command?.map((a) => runner.text(a));
      const code = words ? (await runner.run(words, { inherit, signal })).code : null;
      checks.push({ selector, type, exitCode: code });
    }
  } catch (error) {
    failure = error;
    journal.failed(describeError(error));
  }
  const { left } = await takeDown(
    runner,
    plan.steps.filter((s) => begun.has(s)),
  );
  if (left.length === 0) journal.remove();
  else journal.close();
  // Nothing was opened and nothing is left: the error itself says all.
  if (failure !== null && left.length === 0) throw failure;
  const worst = checks.reduce((sum, c) => sum | (c.exitCode ?? 8), 0);
  return {
    schema: "unterbau/run-plan/1",
    plan: plan.tag,
    mode: plan.repair ? "repair" : "look",
    checks,
    failure: failure === null ? null : describeError(failure),
    left,
    exitCode: worst | (left.length > 0 || failure !== null ? 8 : 0),
  };
}

/** Throws `unsupported` by name for what this host has not: programs, device mapper, nbd. */
async function needs(plan: Plan): Promise<void> {
  for (const step of plan.steps) {
    for (const action of [...step.act, ...step.undo]) if (action.kind === "run") program(String(action.argv[0]?.[0]));
  }
  for (const { unattended } of plan.checks) if (unattended) program(String(unattended[0]?.[0]));
  using modules = new StepRunner(plan, new Map(), () => []);
  const wanted = plan.steps.some((s) => s.probe.kind === "module") ? ["dm_mod", "nbd"] : ["dm_mod"];
  for (const name of wanted) {
    if (existsSync(`/sys/module/${name}`)) continue;
    const arguments_ = name === "nbd" ? ["max_part=0"] : [];
    await modules.run(["modprobe", name, ...arguments_], { limitMs: MODPROBE_MS });
    if (existsSync(`/sys/module/${name}`)) continue;
    throw new StorageError(
      "unsupported",
      `this kernel has no ${name === "nbd" ? "network block devices" : "device mapper"}`,
      {
        layer: "plan",
        feature: name,
        hint: "check, exec and export need none; unterbau plan prints what would be done on a host that has it",
      },
    );
  }
}
