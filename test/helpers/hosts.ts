import { resolve } from "node:path";
import type { AuditDocument, CheckOutcome } from "../../src/audit/model.ts";
import { audit } from "../../src/usecases/audit.ts";

/** The recorded host where everything is as it should be; see test/hosts/README.md. */
export const GOOD = resolve("test/hosts/good");

/** What is declared of it. */
export const SCOPE = resolve("test/hosts/scope.yaml");
/** The good host was recorded then. */
export const RECORDED_AT = new Date("2026-11-24T06:00:00Z");

/** Audits a recorded host: these folders lie over the good one. */
export function auditHost(...overlays: readonly string[]): Promise<AuditDocument> {
  return audit({ guests: [], roots: [...overlays, GOOD], scope: SCOPE, version: "0.0.0", now: () => RECORDED_AT });
}

/** The outcome of one check; throws when there is none. */
export function outcomeOf(doc: AuditDocument, id: string, guest: string | null = null): CheckOutcome {
  const found = doc.checks.find((c) => c.id === id && c.guest === guest);
  if (!found) throw new Error(`no outcome of ${id}`);
  return found;
}
