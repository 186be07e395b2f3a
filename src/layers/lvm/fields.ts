import { StorageError } from "../../core/errors.ts";
import { isSection, type Section, type Value } from "./text.ts";

export const LAYER = "lvm";

/** Reading of single fields of metadata. `where` names the section in messages; a field that makes no sense is `corrupt`. */
export function corrupt(message: string): StorageError {
  return new StorageError("corrupt", message, { layer: LAYER });
}

/** Without `where` a missing section counts as an empty one. */
export function section(s: Section, key: string, where?: string): Section {
  const value = s.get(key);
  if (value === undefined && where === undefined) return new Map();
  if (!isSection(value)) throw corrupt(`${where === undefined ? "" : `${where}: `}${key} is missing`);
  return value;
}

export function requiredString(s: Section, key: string, where: string): string {
  const value = s.get(key);
  if (typeof value !== "string") throw corrupt(`${where}: ${key} is missing`);
  return value;
}

export function optionalString(s: Section, key: string): string | null {
  const value = s.get(key);
  return typeof value === "string" ? value : null;
}

export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

export function count(s: Section, key: string, where: string): number {
  const value = s.get(key);
  if (!isCount(value)) throw corrupt(`${where}: ${key} is ${value === undefined ? "missing" : "not a count"}`);
  return value;
}

export function positive(s: Section, key: string, where: string): number {
  const value = count(s, key, where);
  if (value === 0) throw corrupt(`${where}: ${key} is 0`);
  return value;
}

export function optionalCount(s: Section, key: string): number | null {
  const value = s.get(key);
  return isCount(value) ? value : null;
}

export function strings(value: Value | undefined): readonly string[] {
  return Array.isArray(value) ? value.filter((v): v is string => typeof v === "string") : [];
}

/** LVM counts in 512-byte sectors. */
export function sectorsToBytes(sectors: number, what: string): number {
  const bytes = sectors * 512;
  if (!Number.isSafeInteger(bytes)) throw corrupt(`${what} is beyond what can be addressed`);
  return bytes;
}
