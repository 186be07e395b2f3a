import type { AuditDisk, AuditDocument } from "../audit/model.ts";
import type { AuditDiffDocument } from "./audit-documents.ts";

/** What changed from one run to the other: verdicts, guests, their disks, the policy. Pure. */
export function diffRuns(before: AuditDocument, after: AuditDocument): AuditDiffDocument {
  return {
    schema: "unterbau/audit-diff/1",
    before: before.run,
    after: after.run,
    checks: checksOf(before, after),
    guests: guestsOf(before, after),
    disks: disksOf(before, after),
    policy:
      before.policy.sha256 === after.policy.sha256 ? null : { before: before.policy.date, after: after.policy.date },
  };
}

function checksOf(before: AuditDocument, after: AuditDocument): AuditDiffDocument["checks"] {
  const key = (c: { id: string; guest: string | null }) => JSON.stringify([c.id, c.guest]);
  const old = new Map(before.checks.map((c) => [key(c), c]));
  const now = new Map(after.checks.map((c) => [key(c), c]));
  return [...new Set([...now.keys(), ...old.keys()])].flatMap((k) => {
    const [a, b] = [old.get(k), now.get(k)];
    const { id, guest } = (b ?? a)!;
    return a?.state === b?.state ? [] : [{ id, guest, before: a?.state ?? null, after: b?.state ?? null }];
  });
}

function guestsOf(before: AuditDocument, after: AuditDocument): AuditDiffDocument["guests"] {
  const old = new Map(before.guests.map((g) => [g.uuid, g.name]));
  const now = new Map(after.guests.map((g) => [g.uuid, g.name]));
  const came = [...now].flatMap(([uuid, name]) => {
    const known = old.get(uuid);
    if (known === name) return [];
    return [{ name, uuid, change: known === undefined ? ("added" as const) : ("renamed" as const) }];
  });
  const gone = [...old].filter(([uuid]) => !now.has(uuid));
  return [...came, ...gone.map(([uuid, name]) => ({ name, uuid, change: "removed" as const }))];
}

function disksOf(before: AuditDocument, after: AuditDocument): AuditDiffDocument["disks"] {
  const shape = ({ place, encrypted }: AuditDisk) => ({ place, encrypted });
  return after.guests.flatMap((guest) => {
    const old = before.guests.find((g) => g.uuid === guest.uuid)?.disks;
    if (old === undefined) return [];
    const targets = new Set([...guest.disks, ...old].map((d) => d.target));
    return [...targets].flatMap((target) => {
      const [a, b] = [old, guest.disks].map((disks) => disks.find((d) => d.target === target));
      const [was, is] = [a ? shape(a) : null, b ? shape(b) : null];
      return JSON.stringify(was) === JSON.stringify(is) ? [] : [{ guest: guest.name, target, before: was, after: is }];
    });
  });
}
