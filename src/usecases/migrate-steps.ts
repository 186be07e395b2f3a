import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
} from "node:fs";
import { dirname } from "node:path";
import { alignUp } from "../bytes/integers.ts";
import { printable } from "../bytes/text.ts";
import { ioError, StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import { recordBeside, recordHeader, removeHeader } from "../host/header-store.ts";
import type { MigrationJournal } from "../host/migration-store.ts";
import { openSource } from "../host/open-source.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import { check } from "./check.ts";
import { convert, sourceDevice } from "./convert.ts";
import { syncPath } from "./convert-parts.ts";
import { backupHeader, proofOf } from "./headers.ts";
import { formatLuks } from "./luks-format.ts";
import type { MigrateOptions } from "./migrate.ts";
import { define, finish, guard, renameOld, secret } from "./migrate-libvirt-steps.ts";
import { type Step, type StepContext, unlockingKey } from "./migrate-step.ts";
import { removeKeyFile } from "./recovery-key.ts";
import { hashDevice, hashPayload } from "./second-reader.ts";
import { openForInspection } from "./sources.ts";

const nothing = async (): Promise<void> => {};

/** Where the container is until all is checked: a name that only this migration has. */
function workPath({ plan }: MigrationJournal): string {
  return plan.target.kind === "file" ? `${plan.target.path}.${plan.id}` : plan.target.path;
}

export const STEPS: readonly Step[] = [
  guard,
  {
    name: "target",
    what: "make the target",
    goesOn: false,
    async perform({ journal }) {
      const { target, parameters, size } = journal.plan;
      if (target.kind === "device") return;
      const path = workPath(journal);
      try {
        closeSync(openSync(path, "wx", 0o600));
        truncateSync(path, parameters.dataOffset + alignUp(size, parameters.sectorSize));
      } catch (error) {
        throw ioError(error, `cannot make ${path}`);
      }
    },
    async undo({ journal }) {
      if (journal.plan.target.kind === "file") rmSync(workPath(journal), { force: true });
    },
  },
  {
    name: "format",
    what: "make the LUKS container",
    goesOn: false,
    async perform({ journal, luks, options }) {
      const name = journal.plan.target.path;
      const { uuid } = await formatLuks(workPath(journal), luks, { name, signal: options.signal });
      journal.note("format", "begun", { uuid });
    },
    async undo({ journal }) {
      const { target, recoveryKey, parameters } = journal.plan;
      if (recoveryKey !== null && recoveryKey !== "show") removeKeyFile(recoveryKey.file);
      // The keys go: what was copied is noise then.
      if (target.kind === "device") await wipeStart(target.path, parameters.dataOffset);
    },
  },
  {
    name: "header",
    what: "back the header up, and show that the backup unlocks",
    goesOn: false,
    async perform({ journal, luks, options }) {
      const record = await backupHeader(workPath(journal), undefined, options);
      journal.note("header", "begun", { file: record.file });
      const proof = await proofOf(record, luks.keys, options);
      if (proof.unlocks) return;
      throw new StorageError("io", `the header's backup is not shown to unlock: ${proof.reason}`, { layer: "luks" });
    },
    async undo({ journal }) {
      const file = journal.step("header")?.facts.file;
      if (file !== undefined) removeHeader(file);
    },
  },
  {
    name: "copy",
    what: "copy the disk into the container",
    goesOn: true,
    async perform({ journal, luks, options }) {
      await convert({
        ...sourceOf(journal, options),
        target: workPath(journal),
        to: "luks",
        targetKeys: luks.keys,
        // It is ours: only what this migration wrote is there.
        overwrite: true,
        verify: false,
        rate: options.rate,
        checkpointBytes: options.checkpointBytes,
        onProgress: (_, progress) => options.onProgress?.("copying", progress.done, progress.total),
      });
    },
    undo: nothing,
  },
  {
    name: "verify",
    what: "compare the disk with what a second reader decrypts, by their hashes",
    goesOn: true,
    async perform({ journal, luks, options }) {
      const { size, parameters } = journal.plan;
      const whole = alignUp(size, parameters.sectorSize);
      const hash = async () => {
        await using opened = await openForInspection({ ...sourceOf(journal, options), streaming: true });
        const onDone = (done: number) => options.onProgress?.("reading the source", done, size);
        // Awaited here: the source is closed when this returns.
        return await hashDevice(sourceDevice(opened.stack, undefined), parameters.sectorSize, {
          onDone,
          signal: options.signal,
        });
      };
      const source = await hash();
      const secret = await unlockingKey(workPath(journal), luks, options);
      const onDone = (done: number) => options.onProgress?.("reading the copy", done, whole);
      const copy = await hashPayload(workPath(journal), parameters, whole, secret, { onDone, signal: options.signal });
      if (source === copy) return journal.note("verify", "begun", { sha256: source });
      throw new StorageError("io", "the copy differs from the source", {
        layer: "luks",
        hint: `somebody changed the source, or a medium is failing; unterbau migrate --rollback ${journal.plan.id}`,
      });
    },
    undo: nothing,
  },
  {
    name: "check",
    what: "check every file system in the copy",
    goesOn: true,
    perform: checkCopy,
    undo: nothing,
  },
  {
    name: "name",
    what: "give the target its name",
    goesOn: true,
    async perform({ journal }) {
      const { target } = journal.plan;
      const work = workPath(journal);
      if (target.kind === "file") {
        if (existsSync(work)) {
          journal.note("name", "begun", { inode: String(statSync(work).ino) });
          if (!isOurs(journal)) linkSync(work, target.path);
          rmSync(work);
          syncPath(dirname(target.path));
        } else if (!isOurs(journal)) throw new StorageError("io", `${work} is gone`, { layer: "file" });
      }
      const record = recordBeside(journal.step("header")!.facts.file!);
      if (record) recordHeader({ ...record, device: sourceIdentity(target.path).realpath });
    },
    async undo({ journal }) {
      if (isOurs(journal)) rmSync(journal.plan.target.path);
    },
  },
  {
    name: "nvram",
    what: "copy the firmware's variables",
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
  },
  secret,
  renameOld,
  define,
  finish,
];

function sourceOf({ plan }: MigrationJournal, options: MigrateOptions) {
  const { note, signal, limits, sourceKeys: keys } = options;
  return { sources: [`vm:${plan.guest.uuid}`], connect: plan.guest.uri ?? undefined, keys, note, signal, limits };
}

async function checkCopy({ journal, luks, options }: StepContext): Promise<void> {
  const { repair, id } = journal.plan;
  // Those of the container, and those of LUKS inside the guest.
  const keys: KeyProvider = {
    secretsFor: async (request) => [
      ...(await luks.keys.secretsFor(request)),
      ...(await options.sourceKeys.secretsFor(request)),
    ],
  };
  const document = await check({
    sources: [workPath(journal)],
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

/** Whether the name of the target has our file, as was noted before it got it. */
function isOurs(journal: MigrationJournal): boolean {
  const { target } = journal.plan;
  const inode = journal.step("name")?.facts.inode;
  return (
    target.kind === "file" &&
    inode !== undefined &&
    existsSync(target.path) &&
    String(statSync(target.path).ino) === inode
  );
}

/** Nothing opens the container any more, and nothing is recognised there. */
async function wipeStart(path: string, length: number): Promise<void> {
  const { file } = await openSource(sourceIdentity(path), "write");
  await using device = file;
  const zeros = new Uint8Array(1024 * 1024);
  for (let at = 0; at < length; at += zeros.length) await device.write(zeros.subarray(0, length - at), at);
  await device.flush();
}
