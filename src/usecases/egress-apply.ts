import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StorageError } from "../core/errors.ts";
import { egressOfGuest, forgetEgress, noteEgress, readEgress } from "../host/egress-store.ts";
import { interfacesWithFilter } from "../libvirt/egress-xml.ts";
import { mustRun, runProgram } from "../tools/run-program.ts";
import { virsh } from "../tools/virsh.ts";
import type { EgressPlanDocument, EgressUndoDocument } from "./egress-documents.ts";
import { tableFamily, tableName } from "./egress-nft.ts";
import { type EgressPlan, filterName } from "./egress-plan.ts";

const NFT = { packageName: "nftables" };

/** Puts the rules of a plan in force; what was there is noted before. Throws `usage` when it is not root, or rules of ours are in force. */
export async function applyEgress({ guest, document }: EgressPlan, signal?: AbortSignal): Promise<EgressPlanDocument> {
  refuseOthers();
  const known = egressOfGuest(guest.uuid);
  if (known !== null)
    throw new StorageError("usage", `rules for ${guest.name} are in force already (${known.run})`, {
      hint: `take them back first: unterbau egress undo ${known.run}`,
    });
  const stamp = new Date().toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  const run = `${stamp}-${randomBytes(2).toString("hex")}`;
  const base = { schema: "unterbau/egress-run/1", run, guest: guest.name, uuid: guest.uuid, uri: guest.uri } as const;
  if (document.format === "nft") {
    const table = `${tableFamily(document.interfaces)} ${tableName(guest.uuid)}`;
    noteEgress({ ...base, table, filter: null, interfaces: [] });
    // All or nothing: nft takes a file as one transaction.
    await orTakeBack(run, () => mustRun("nft", ["-f", "-"], { ...NFT, input: Buffer.from(document.rules), signal }));
    return { ...document, run };
  }
  const ask = (...args: string[]) => virsh(args, { uri: guest.uri, signal });
  const name = filterName(guest.name);
  const running = guest.state !== "shut off";
  const live = interfacesWithFilter(await ask("dumpxml", `--domain=${guest.uuid}`), name);
  const config = guest.persistent
    ? interfacesWithFilter(await ask("dumpxml", `--domain=${guest.uuid}`, "--inactive"), name)
    : [];
  const before = await ask("nwfilter-dumpxml", `--nwfilter=${name}`).catch(() => null);
  noteEgress({
    ...base,
    table: null,
    filter: { name, before },
    interfaces: [
      ...(running ? live.map(({ mac, before }) => ({ mac, before, live: true, config: false })) : []),
      ...config.map(({ mac, before }) => ({ mac, before, live: false, config: true })),
    ],
  });
  await orTakeBack(run, async () => {
    await withFile(document.rules, (file) => ask("nwfilter-define", `--file=${file}`));
    const update = (after: string, flag: string) =>
      withFile(after, (file) => ask("update-device", `--domain=${guest.uuid}`, `--file=${file}`, flag));
    for (const { after } of config) await update(after, "--config");
    if (running) for (const { after } of live) await update(after, "--live");
  });
  return { ...document, run };
}

/** Takes back what a run put in force. May be repeated until it succeeds. */
export async function undoEgress(run: string, signal?: AbortSignal): Promise<EgressUndoDocument> {
  refuseOthers();
  const { guest, uuid, uri, table, filter, interfaces } = readEgress(run);
  const done: string[] = [];
  if (table !== null) {
    const words = table.split(" ");
    const { code } = await runProgram("nft", ["list", "table", ...words], { ...NFT, signal });
    // After the host's restart it is gone by itself.
    if (code === 0) await mustRun("nft", ["delete", "table", ...words], { ...NFT, signal });
    done.push(`table ${table}`);
  }
  const ask = (...args: string[]) => virsh(args, { uri, signal });
  if (filter !== null) {
    const running = !/shut off/.test(await ask("domstate", `--domain=${uuid}`));
    for (const { mac, before, live } of interfaces) {
      if (live && !running) continue;
      await withFile(before, (file) =>
        ask("update-device", `--domain=${uuid}`, `--file=${file}`, live ? "--live" : "--config"),
      );
      done.push(`${mac}${live ? " (running)" : ""}`);
    }
    if (filter.before !== null) await withFile(filter.before, (file) => ask("nwfilter-define", `--file=${file}`));
    else if (await isDefined(filter.name, ask)) await ask("nwfilter-undefine", `--nwfilter=${filter.name}`);
    done.push(`filter ${filter.name}`);
  }
  forgetEgress(run);
  return { schema: "unterbau/egress-undo/1", run, guest, done };
}

async function isDefined(name: string, ask: (...args: string[]) => Promise<string>): Promise<boolean> {
  const list = await ask("nwfilter-list");
  return list.split("\n").some((line) => line.trim().split(/\s+/)[1] === name);
}

/** What failed half way is taken back at once; when that fails too, its run stays known. */
async function orTakeBack(run: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const left = await undoEgress(run).then(
      () => null,
      (why: unknown) => why,
    );
    if (left === null || !(error instanceof StorageError)) throw error;
    throw new StorageError(error.code, error.message, {
      layer: "libvirt",
      cause: error,
      hint: `what was done by then could not be taken back; repeat it: unterbau egress undo ${run}`,
    });
  }
}

function refuseOthers(): void {
  if (process.getuid?.() !== 0)
    throw new StorageError("usage", "rules are put in force and taken back by root only", {
      hint: "run it with sudo; without --apply the plan is only printed",
    });
}

async function withFile<T>(text: string, work: (path: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "unterbau-egress-"));
  try {
    const path = join(folder, "rules.xml");
    writeFileSync(path, text, { mode: 0o600 });
    return await work(path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
