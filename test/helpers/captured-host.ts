import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { AuditDocument } from "../../src/audit/model.ts";
import { audit } from "../../src/usecases/audit.ts";

const CAPTURED = resolve("test/hosts/captured");

/** When each was recorded, and what the audit in the machine said: of the cases what it said otherwise; null: it did not say. */
const LIVE: Readonly<Record<string, { at: string; checks: Readonly<Record<string, string | null>> }>> = JSON.parse(
  readFileSync(`${CAPTURED}/verdicts.json`, "utf8"),
);

/** What the audit in the machine said, by check and guest. */
export function saidLive(name: string): Readonly<Record<string, string | null>> {
  const all = Object.entries({ ...LIVE.good!.checks, ...LIVE[name]!.checks });
  return Object.fromEntries(all.filter(([, verdict]) => verdict !== null));
}

/** Audits a captured host, as of its recording: `good`, or with what one case changed. */
export function auditCaptured(name: string): Promise<AuditDocument> {
  const overlay = `${CAPTURED}/cases/${name}`;
  const own = `${overlay}/.recorded/scope.yaml`;
  return audit({
    guests: [],
    roots: name === "good" ? [`${CAPTURED}/host`] : [overlay, `${CAPTURED}/host`],
    scope: existsSync(own) ? own : `${CAPTURED}/scope.yaml`,
    version: "0.0.0",
    now: () => new Date(LIVE[name]!.at),
  });
}
