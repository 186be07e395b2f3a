import { constants, copyFileSync, rmSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import { syncPath } from "../core/sync-path.ts";
import type { MigrationPlan } from "../host/migration-store.ts";
import { check } from "./check.ts";
import * as disk from "./migrate-disk-steps.ts";
import { define, finish, guard, renameOld, secret } from "./migrate-libvirt-steps.ts";
import { type DiskStep, forDisk, type GuestStep, type Step, type StepContext } from "./migrate-step.ts";

const checkAll: GuestStep = {
  name: "check",
  what: "check every file system in the copy",
  back: null,
  goesOn: true,
  perform: checkCopy,
  undo: async () => {},
};

const nvram: GuestStep = {
  name: "nvram",
  what: "copy the firmware's variables",
  back: "remove the copy",
  goesOn: false,
  applies: ({ nvram }) => nvram !== null,
  async perform({ journal }) {
    const { nvram } = journal.plan;
    if (nvram === null) return;
    copyFileSync(nvram.from, nvram.to, constants.COPYFILE_EXCL);
    syncPath(nvram.to);
  },
  async undo({ journal }) {
    // Its name has the clone's own UUID.
    if (journal.plan.nvram !== null) rmSync(journal.plan.nvram.to, { force: true });
  },
};

/** The steps of a migration, in order. Every target is made before the first of the copies, which take long. */
export function stepsOf(plan: MigrationPlan): Step[] {
  const several = plan.disks.length > 1;
  const each = (...steps: readonly DiskStep[]) =>
    plan.disks.flatMap((d) => steps.filter((s) => s.applies?.(d) ?? true).map((s) => forDisk(s, d, several)));
  const whole = (...steps: readonly GuestStep[]) => steps.filter((s) => s.applies?.(plan) ?? true);
  return [
    ...whole(guard),
    ...each(disk.target),
    ...each(disk.format, disk.header),
    ...each(disk.copy, disk.verify),
    // All at once: a volume group may lie on several disks.
    ...whole(checkAll),
    ...each(disk.name),
    ...whole(nvram),
    ...each(secret),
    ...whole(renameOld, define, finish),
  ];
}

async function checkCopy({ journal, luks, options }: StepContext): Promise<void> {
  const { repair, id, disks } = journal.plan;
  // Those of the container, and those of LUKS inside the guest.
  const keys: KeyProvider = {
    secretsFor: async (request) => [
      ...(await luks.keys.secretsFor(request)),
      ...(await options.sourceKeys.secretsFor(request)),
    ],
  };
  const document = await check({
    sources: disks.map((d) => disk.workPath(journal, d)),
    format: "raw",
    keys,
    limits: options.limits,
    signal: options.signal,
    note: options.note,
    volumes: [],
    repair,
    preen: false,
    force: false,
    zeroLog: false,
    timeoutMs: options.checkerTimeoutMs,
    remember: false,
    on: {},
  });
  const bad = document.volumes.filter((v) => v.verdict !== "clean" && v.verdict !== "repaired");
  if (bad.length === 0) {
    return journal.note("check", "begun", { volumes: String(document.volumes.length), run: document.run ?? "" });
  }
  const said = bad.map((v) => `${printable(v.selector)} is ${v.verdict}${v.reason ? ` (${printable(v.reason)})` : ""}`);
  throw new StorageError("corrupt", `file systems of the guest are not clean: ${said.join(", ")}`, {
    layer: "luks",
    hint: `roll back (unterbau migrate --rollback ${id}), repair the guest (unterbau check vm:… --repair), and migrate again; or migrate with --repair`,
  });
}
