import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { putRecord, readRecord, recordsIn } from "./json-record.ts";
import { stateDir, stateDirs } from "./run-store.ts";

/** What is known of a backup of a LUKS header; nothing in it is secret. */
export interface HeaderRecord {
  readonly schema: "unterbau/header-record/1";
  /** Absolute path of the backup. */
  readonly file: string;
  /** Real path of the device or file that it is of. */
  readonly device: string;
  /** A block device's name that stays the same after a reboot, or null. */
  readonly stableId: string | null;
  readonly deviceSize: number;
  readonly uuid: string;
  readonly version: 1 | 2;
  readonly label: string | null;
  /** LUKS2: the header's sequence id, which every change of it raises. */
  readonly epoch: number | string | null;
  /** Bytes of the backup. */
  readonly size: number;
  readonly sha256: string;
  /** ISO 8601, UTC. */
  readonly made: string;
}

const SCHEMA = "unterbau/header-record/1";
const MAX_BYTES = 64 * 1024;
const ENDING = ".json";

/** Where backups go that nobody wants elsewhere, and the records of all. */
export function headerFolder(state = stateDir()): string {
  return join(state, "headers");
}

/** Notes a backup: beside it, and in the state folder, so that it is found wherever it is. */
export function recordHeader(record: HeaderRecord): void {
  for (const path of recordPaths(record.file)) putRecord(path, record);
}

/** Removes a backup and what is known of it: what it opened is gone. */
export function removeHeader(file: string): void {
  for (const path of [file, ...recordPaths(file)]) rmSync(path, { force: true });
}

function recordPaths(file: string): string[] {
  const name = createHash("sha256").update(file).digest("hex").slice(0, 32);
  return [`${file}${ENDING}`, join(headerFolder(), "index", `${name}${ENDING}`)];
}

/** All records of all state folders that can be read, newest first. */
export function headerRecords(states: readonly string[] = stateDirs()): HeaderRecord[] {
  const paths = states.flatMap((state) => recordsIn(join(headerFolder(state), "index")));
  const found = paths.flatMap((path) => readHeaderRecord(path) ?? []);
  return found.sort((a, b) => (a.made < b.made ? 1 : a.made > b.made ? -1 : a.file < b.file ? -1 : 1));
}

/** The record that lies beside a backup, whatever the state folder knows; null: none that is understood. */
export function recordBeside(file: string): HeaderRecord | null {
  const record = readHeaderRecord(`${file}${ENDING}`);
  // It may have been carried to another place together with its backup.
  return record && { ...record, file };
}

function readHeaderRecord(path: string): HeaderRecord | null {
  const value = readRecord<HeaderRecord>(path, MAX_BYTES);
  const texts = [value?.file, value?.device, value?.uuid, value?.sha256, value?.made];
  const whole =
    value?.schema === SCHEMA &&
    texts.every((text) => typeof text === "string") &&
    Number.isSafeInteger(value.size) &&
    Number.isSafeInteger(value.deviceSize);
  return whole ? (value as HeaderRecord) : null;
}
