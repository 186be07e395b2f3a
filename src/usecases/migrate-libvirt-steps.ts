import { closeSync, constants, openSync, rmSync, writeFileSync } from "node:fs";
import type { MigrationDisk, MigrationJournal } from "../host/migration-store.ts";
import { cloneXml, type DiskChanges } from "../libvirt/clone-xml.ts";
import { GUARD_NAMESPACE, GUARD_PREFIX, type Guard, guardForVirsh } from "../libvirt/guard.ts";
import { virsh } from "../tools/virsh.ts";
import { provideSecret } from "./guest-secrets.ts";
import { type DiskStep, type GuestStep, type StepContext, unlockingKey } from "./migrate-step.ts";

export const guard: GuestStep = {
  name: "guard",
  what: "mark the guest, so that it is not started meanwhile, and take it out of autostart",
  back: "take the mark out; autostart as it was",
  goesOn: true,
  async perform(context) {
    await setGuard(context, "old", "copying");
    if (context.journal.plan.autostart) await onOld(context, "autostart", "--disable");
  },
  async undo(context) {
    if ((await onOld(context, "dumpxml", "--inactive")).includes(GUARD_NAMESPACE))
      await onOld(context, "metadata", `--uri=${GUARD_NAMESPACE}`, "--config", "--remove");
    if (context.journal.plan.autostart) await onOld(context, "autostart");
  },
};

export const secret: DiskStep = {
  name: "secret",
  what: "give libvirt the passphrase, kept in memory only",
  back: "take it from libvirt",
  goesOn: false,
  applies: ({ opened }) => opened.by === "qemu",
  async perform(context) {
    const { journal, disk, luks, options } = context;
    const { opened, target } = disk;
    if (opened.by !== "qemu") return;
    const key = await unlockingKey(target.path, luks, options);
    await provideSecret(opened.secret, target.path, key, { uri: journal.plan.guest.uri, now: null });
  },
  async undo(context) {
    const { opened } = context.disk;
    if (opened.by === "qemu" && (await isThere(context, "secret", opened.secret)))
      await libvirt(context, "secret-undefine", `--secret=${opened.secret}`);
  },
};

export const renameOld: GuestStep = {
  name: "rename",
  what: "give the old guest another name",
  back: "give it its own again",
  goesOn: false,
  applies: ({ oldName }) => oldName !== null,
  async perform(context) {
    const { oldName } = context.journal.plan;
    if (oldName !== null) await onOld(context, "domrename", `--new-name=${oldName}`);
  },
  async undo(context) {
    const { oldName, guest } = context.journal.plan;
    if (oldName === null) return;
    const name = (await onOld(context, "domname")).trim();
    if (name === oldName) await onOld(context, "domrename", `--new-name=${guest.name}`);
  },
};

export const define: GuestStep = {
  name: "define",
  what: "define the copy as a guest",
  back: "undefine it",
  goesOn: false,
  perform: defineClone,
  async undo(context) {
    const { clone, nvram } = context.journal.plan;
    rmSync(context.journal.file("domain.xml"), { force: true });
    const keep = nvram === null ? [] : ["--keep-nvram"];
    if (await isThere(context, "guest", clone.uuid))
      await libvirt(context, "undefine", `--domain=${clone.uuid}`, ...keep);
  },
};

export const finish: GuestStep = {
  name: "finish",
  what: "let the copy be started, and the old guest no more",
  back: "let neither be started, until all is taken back",
  goesOn: true,
  async perform(context) {
    // Before it is so: whatever starts the copy comes later.
    context.journal.note("finish", "begun", { at: new Date().toISOString() });
    // First the old one: at no time may both be started.
    await setGuard(context, "old", "ready");
    await setGuard(context, "clone", "ready");
  },
  async undo(context) {
    const { clone } = context.journal.plan;
    if (await isThere(context, "guest", clone.uuid)) await setGuard(context, "clone", "copying");
    await setGuard(context, "old", "copying");
  },
};

async function defineClone(context: StepContext): Promise<void> {
  const { journal } = context;
  const { plan } = journal;
  const xml = await onOld(context, "dumpxml", "--inactive", "--security-info");
  const changed = cloneXml(xml, {
    ...plan.clone,
    disks: plan.disks.map(changesOf),
    discard: plan.discard,
    newAddresses: plan.oldName === null,
    nvram: plan.nvram?.to ?? null,
    guard: guardOf(journal, "clone", "copying"),
  });
  const path = journal.file("domain.xml");
  rmSync(path, { force: true });
  // It may hold the passwords of consoles.
  writeFileSync(path, changed, { mode: 0o600, flag: "wx" });
  try {
    await libvirt(context, "define", `--file=${path}`, "--validate");
  } finally {
    rmSync(path, { force: true });
  }
}

function changesOf({ disk, opened, target }: MigrationDisk): DiskChanges {
  const direct = takesDirect(target.path);
  if (opened.by === "host") return { disk, source: { kind: "block", path: opened.mapped }, secret: null, direct };
  const kind = target.kind === "file" ? "file" : "block";
  return { disk, source: { kind, path: target.path }, secret: opened.secret, direct };
}

/** Whether its file system can do without the page cache: QEMU refuses to start with cache=none where not. */
function takesDirect(path: string): boolean {
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_DIRECT));
    return true;
  } catch {
    return false;
  }
}

function guardOf({ plan }: MigrationJournal, role: Guard["role"], state: Guard["state"]): Guard {
  return { role, partner: role === "old" ? plan.clone.uuid : plan.guest.uuid, run: plan.id, state };
}

async function setGuard(context: StepContext, role: Guard["role"], state: Guard["state"]): Promise<void> {
  const { plan } = context.journal;
  const uuid = role === "old" ? plan.guest.uuid : plan.clone.uuid;
  const set = `--set=${guardForVirsh(guardOf(context.journal, role, state))}`;
  await libvirt(
    context,
    "metadata",
    `--domain=${uuid}`,
    `--uri=${GUARD_NAMESPACE}`,
    `--key=${GUARD_PREFIX}`,
    set,
    "--config",
  );
}

function onOld(context: StepContext, command: string, ...more: string[]): Promise<string> {
  return libvirt(context, command, `--domain=${context.journal.plan.guest.uuid}`, ...more);
}

function libvirt({ journal, options }: StepContext, ...args: string[]): Promise<string> {
  return virsh(args, { uri: journal.plan.guest.uri, signal: options.signal });
}

/** Whether libvirt knows it, by its UUID; what was taken away before is not taken away again. */
async function isThere(context: StepContext, kind: "guest" | "secret", uuid: string): Promise<boolean> {
  const list = kind === "guest" ? ["list", "--all", "--uuid"] : ["secret-list"];
  return (await libvirt(context, ...list)).includes(uuid);
}
