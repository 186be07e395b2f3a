import { spawn } from "node:child_process";
import { existsSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { StorageError } from "../core/errors.ts";
import { BlockEvents } from "../host/block-events.ts";
import { deviceUsers, folderUsers } from "../host/busy.ts";
import {
  blockUnits,
  freeNbd,
  isMountPoint,
  loopBacking,
  mappedNames,
  mappedUuids,
  nbdServer,
} from "../host/kernel-state.ts";
import { ended, markedProcesses } from "../host/marked-processes.ts";
import { type Action, type Argument, argumentText, type Plan, type Probe, type Step } from "../plan/model.ts";
import { isVolumeOf } from "../plan/names.ts";
import { findProgram } from "../tools/find.ts";
import { type LimitedOptions, type LimitedResult, runLimited } from "../tools/limited.ts";
import type { Chosen } from "./plan-store.ts";

/** All processes of a plan have it in their environment, so that a later one finds them. */
const MARK = "UNTERBAU_PLAN";
const PATIENCE_SECONDS = 60;
/** Another program may take a free device between the look and the use. */
const ATTEMPTS = 5;

/** Gives the passphrase of the LUKS header with this UUID, for reading once. */
export type PassphraseSource = (uuid: string) => readonly Uint8Array[];

const MINUTE_MS = 60_000;
/** What most commands take a moment for. */
const USUAL_LIMIT_MS = 5 * MINUTE_MS;
/** LVM may have thin_check read all of a pool's metadata, and a mount may replay a journal. Checkers have no limit; Ctrl-C ends them. */
const LIMITS_MS: { readonly [program: string]: number } = { vgchange: 60 * MINUTE_MS, mount: 60 * MINUTE_MS };

/** How long a step's command may take, in milliseconds. */
export type StepLimit = (program: string) => number;

const usualLimit: StepLimit = (name) => LIMITS_MS[name] ?? USUAL_LIMIT_MS;

/** Does single steps of a plan, sees whether they are done, takes them back. */
export class StepRunner implements Disposable {
  readonly #plan: Plan;
  readonly #devices = new Map<string, string>();
  readonly #backings = new Map<string, string>();
  readonly #passphrases: PassphraseSource;
  readonly #limit: StepLimit;
  #events: BlockEvents | null = null;

  constructor(
    plan: Plan,
    begun: ReadonlyMap<string, Chosen>,
    passphrases: PassphraseSource,
    limit: StepLimit = usualLimit,
  ) {
    this.#plan = plan;
    this.#passphrases = passphrases;
    this.#limit = limit;
    for (const [id, chosen] of begun) this.#remember(id, chosen);
  }

  [Symbol.dispose](): void {
    this.#events?.[Symbol.dispose]();
  }

  text(argument: Argument): string {
    return argumentText(argument, this.#devices);
  }

  /** Whether the step is done, by us. */
  isDone(step: Step): boolean {
    return this.#holds(step.probe, step);
  }

  #holds(probe: Probe, step: Step): boolean {
    switch (probe.kind) {
      case "path":
        return existsSync(probe.path);
      case "mapped":
        return mappedNames().includes(probe.name);
      case "group":
        return mappedNames().some((name) => isVolumeOf(name, probe.name));
      case "uuid":
        return mappedUuids().some((uuid) => uuid.startsWith(probe.prefix));
      case "mounted":
        return isMountPoint(probe.path);
      case "module":
        return existsSync(`/sys/module/${probe.name}`);
      case "loop": {
        const device = this.#devices.get(step.id);
        const shown = device === undefined ? null : loopBacking(device);
        return shown !== null && shown.backing === this.#backings.get(step.id) && shown.offset === probe.offset;
      }
      case "nbd": {
        const device = this.#devices.get(step.id);
        const server = device === undefined ? null : nbdServer(device);
        return server !== null && markedProcesses(MARK, this.#plan.tag).some(({ pid }) => pid === server.pid);
      }
    }
  }

  /**
   * Does the step. `begin` is called with what it chose before anything is done. Throws what went wrong, also a command that took too long
   * or was ended by `signal`; the step may be half done then.
   */
  async act(step: Step, begin: (chosen: Chosen) => void, signal?: AbortSignal): Promise<void> {
    if (step.probe.kind === "module") {
      if (!this.isDone(step)) for (const action of step.act) await this.#do(action, step, signal);
    } else {
      await this.#actChosen(step, begin, signal);
    }
    if (!this.isDone(step)) throw new StorageError("io", `this had no effect: ${step.title}`, { layer: "plan" });
  }

  async #actChosen(step: Step, begin: (chosen: Chosen) => void, signal: AbortSignal | undefined): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const chosen = await this.#choose(step);
      this.#remember(step.id, chosen);
      if (step.choose === null && this.isDone(step)) throw thereAlready(step);
      if (step.unless !== null && this.#holds(step.unless, step)) throw inTheWay(step.unless);
      begin(chosen);
      try {
        for (const action of step.act) await this.#do(action, step, signal);
        return;
      } catch (error) {
        const lost = chosen.device !== null && !this.isDone(step) && isTaken(chosen.device);
        if (!lost || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async #choose(step: Step): Promise<Chosen> {
    if (step.choose === "loop" && step.probe.kind === "loop") {
      const device = (await this.#output(["losetup", "--find"])).trim();
      return { device, backing: realpathSync(this.text(step.probe.backing)) };
    }
    if (step.choose === "nbd") {
      const device = freeNbd();
      if (device !== null) return { device, backing: null };
      throw new StorageError("unsupported", "no network block device is free", {
        layer: "plan",
        feature: "another nbd device",
        hint: "lsblk shows who uses them; modprobe nbd nbds_max=64 makes more, when none is in use",
      });
    }
    return { device: null, backing: null };
  }

  #remember(id: string, { device, backing }: Chosen): void {
    if (device !== null) this.#devices.set(id, device);
    if (backing !== null) this.#backings.set(id, backing);
  }

  /** Takes the step back; what is not done needs nothing. Throws when it is still there afterwards, with who uses it. */
  async undo(step: Step): Promise<void> {
    const servers = step.probe.kind === "nbd" ? this.#servers(step) : [];
    if (!this.isDone(step)) {
      // A server that has not got so far, and would.
      for (const pid of servers) process.kill(pid, "SIGTERM");
      await this.#gone(step, servers);
      return;
    }
    let failure: unknown = null;
    try {
      for (const action of step.undo) await this.#do(action, step);
      await this.#gone(step, servers);
    } catch (error) {
      failure = error;
    }
    if (!this.isDone(step)) return;
    const users = this.users(step);
    const why =
      users.length > 0
        ? `in use: ${users.join(", ")}`
        : failure instanceof Error
          ? failure.message
          : "its end had no effect";
    throw new StorageError("locked", `still there: ${step.title} (${why})`, { layer: "plan", cause: failure });
  }

  async #gone(step: Step, servers: readonly number[]): Promise<void> {
    if (await ended(servers, PATIENCE_SECONDS)) return;
    throw new StorageError("io", `qemu-nbd does not end: ${step.title}`, { layer: "plan" });
  }

  /** qemu-nbd processes of this step. */
  #servers(step: Step): number[] {
    const device = this.#devices.get(step.id);
    const wanted = `--connect=${device}`;
    return markedProcesses(MARK, this.#plan.tag)
      .filter(({ argv }) => argv.includes(wanted))
      .map(({ pid }) => pid);
  }

  /** Waits for commands that a killed predecessor had started and that work on alone, servers excepted. Those that go on: `e2fsck (pid 4711)`. */
  async strangers(): Promise<string[]> {
    const others = () =>
      markedProcesses(MARK, this.#plan.tag).filter(({ argv }) => !argv.some((a) => a.startsWith("--connect=")));
    const pids = others().map(({ pid }) => pid);
    if (await ended(pids, PATIENCE_SECONDS)) return [];
    return others().map(({ pid, argv }) => `${basename(argv[0] ?? "?")} (pid ${pid})`);
  }

  /** Who keeps the step's device or mount from going away. */
  users(step: Step): string[] {
    const { probe } = step;
    switch (probe.kind) {
      case "mounted":
        return folderUsers(probe.path);
      case "mapped":
        return deviceUsers(`/dev/mapper/${probe.name}`);
      case "group":
        return mappedNames()
          .filter((name) => isVolumeOf(name, probe.name))
          .flatMap((name) => deviceUsers(`/dev/mapper/${name}`));
      case "loop":
      case "nbd":
        return deviceUsers(this.text(probe.device));
      case "path":
      case "module":
      case "uuid":
        return [];
    }
  }

  async #do(action: Action, step: Step, signal?: AbortSignal): Promise<void> {
    if (action.kind === "write") writeFileSync(action.path, action.text, { mode: 0o644 });
    else if (action.kind === "remove") rmSync(action.path, { force: true });
    else if (action.background)
      await this.#serve(
        action.argv.map((a) => this.text(a)),
        step,
      );
    else await this.#command(action, signal);
  }

  async #command(action: Action & { readonly kind: "run" }, signal: AbortSignal | undefined): Promise<void> {
    const argv = action.argv.map((a) => this.text(a));
    const { key } = action;
    if (!key) return void (await this.#output(argv, signal));
    if (key.file !== null) return void (await this.#output(withKeyFile(argv, key.file), signal));
    const tried: LimitedResult[] = [];
    for (const secret of this.#passphrases(key.uuid)) {
      const limitMs = this.#limit(argv[0]!);
      const result = await this.run(withKeyFile(argv, "-"), { input: secret, signal, limitMs });
      if (result.code === 0) return;
      tried.push(result);
    }
    const errors = tried[0]?.errors.trim() ?? "no passphrase is known";
    throw new StorageError("key", `cryptsetup cannot open ${key.uuid}: ${errors}`, { layer: "plan" });
  }

  async #output(argv: readonly string[], signal?: AbortSignal): Promise<string> {
    const result = await this.run(argv, { signal, limitMs: this.#limit(argv[0]!) });
    signal?.throwIfAborted();
    if (result.code === 0) return result.output;
    const errors = result.errors.trim().split("\n").join("; ");
    throw new StorageError("io", `${argv[0]} ended with ${result.code ?? "a signal"}: ${errors}`, { layer: "plan" });
  }

  /** A server, which goes on when this returns, with its device ready. It does not end with us. */
  async #serve(argv: readonly string[], step: Step): Promise<void> {
    const device = this.#devices.get(step.id)!;
    this.#events ??= new BlockEvents(program("udevadm"));
    await this.#events.ready();
    const child = spawn(program(argv[0]!), argv.slice(1), {
      env: this.#env(),
      stdio: ["ignore", "ignore", "inherit"],
      detached: true,
    });
    child.unref();
    const over = new Promise((done) => {
      child.on("error", done);
      child.on("exit", done);
    });
    await this.#events.until(
      () => blockUnits(device) > 0 && this.isDone(step),
      `${argv[0]} does not serve ${device}`,
      PATIENCE_SECONDS,
      over,
    );
  }

  /** Runs a command to its end, with the plan's environment. */
  run(argv: readonly string[], options: LimitedOptions): Promise<LimitedResult> {
    return runLimited(program(argv[0]!), argv.slice(1), this.#env(), options);
  }

  #env(): NodeJS.ProcessEnv {
    return { ...process.env, LC_ALL: "C", ...this.#plan.env, [MARK]: this.#plan.tag };
  }
}

function thereAlready(step: Step): StorageError {
  return new StorageError("locked", `it is there already, and not by this plan: ${step.title}`, {
    layer: "plan",
    hint: "unterbau recover takes down what a plan left; lsblk shows the rest",
  });
}

function inTheWay(probe: Probe): StorageError {
  const what = probe.kind === "uuid" ? probe.what : "what the step makes";
  return new StorageError("locked", `${what} is active on this host`, { layer: "plan", hint: "lsblk shows it" });
}

function isTaken(device: string): boolean {
  return loopBacking(device) !== null || nbdServer(device) !== null;
}

/** `cryptsetup open … ` with the option behind its verb. */
function withKeyFile([name = "", verb = "", ...rest]: readonly string[], file: string): string[] {
  return [name, verb, "--key-file", file, ...rest];
}

/** Throws `unsupported` with the program's name when it is not installed. */
export function program(name: string): string {
  const found = findProgram(name);
  if (found !== null) return found;
  throw new StorageError("unsupported", `${name} is not installed`, {
    layer: "plan",
    feature: name,
    hint: "install the package that has it; unterbau plan prints what would be done",
  });
}
