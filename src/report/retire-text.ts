import type { RetireDocument, RetirementsDocument } from "../usecases/retire-documents.ts";
import { humanSize, printable } from "./units.ts";

type Target = RetireDocument["targets"][number];

const ROLE: Readonly<Record<Target["role"], string>> = {
  disk: "disk",
  "data-file": "data file of the disk",
  "backing-image": "image below the disk",
  "firmware-variables": "firmware variables",
  "undo-log": "undo log with old bytes of the disk",
  "header-backup": "backup of its LUKS header",
};

const MEDIUM: Readonly<Record<Target["medium"]["type"], string>> = {
  hdd: "hard disk",
  ssd: "SSD",
  unknown: "unknown medium, treated as an SSD",
};

/** A deletion record, or what one would be. */
export function retireText(doc: RetireDocument): string {
  const lines = [headline(doc)];
  lines.push(`  ${proofLine(doc)}`);
  for (const target of doc.targets) lines.push(...targetLines(target));
  lines.push(...doc.left.map((what) => `left as it is: ${printable(what)}`));
  if (doc.state === "planned")
    lines.push(
      doc.keepDomain ? "the old guest stays defined" : "then the old guest is undefined, and its files are removed",
    );
  else if (doc.undefined) lines.push("the old guest is no longer defined");
  lines.push(...doc.residual.map((text) => `note: ${printable(text)}`));
  lines.push(...doc.advice.map((text) => `advice: ${printable(text)}`));
  if (doc.state === "planned") lines.push("nothing was changed");
  else lines.push(operatorLine(doc));
  if (doc.state === "begun")
    lines.push(`it is destroyed in part, and cannot be taken back: unterbau retire --resume ${doc.run}`);
  if (doc.verdict !== null) lines.push(`verdict: ${doc.verdict}`, `deletion record: unterbau retire --show ${doc.run}`);
  return `${lines.join("\n")}\n`;
}

export function retirementsText({ retirements }: RetirementsDocument): string {
  if (retirements.length === 0) return "no old disks were destroyed\n";
  return retirements
    .map(({ run, guest, state, verdict, begun, ended }) => {
      const how = state === "done" ? `destroyed ${ended}, ${verdict}` : `begun ${begun}, not ended: --resume ${run}`;
      return `${run}  ${printable(guest)}  ${how}\n`;
    })
    .join("");
}

function headline({ state, guest, run }: RetireDocument): string {
  const name = printable(guest.name);
  switch (state) {
    case "planned":
      return `the old disk of ${name} would be destroyed (migration ${run})`;
    case "begun":
      return `the old disk of ${name} is being destroyed (migration ${run})`;
    case "done":
      return `the old disk of ${name} is destroyed (migration ${run})`;
  }
}

function proofLine({ clone, proof }: RetireDocument): string {
  const name = printable(clone.name);
  const { booted, checked, overridden } = proof;
  if (overridden) return `not shown that ${name} was started and checked: the operator went on (--i-know)`;
  const by = booted?.by === "live-check" ? "seen running" : "started";
  return `${name} was ${by} at ${booted?.at}, and ${checked?.verdict} when it was checked at ${checked?.at}`;
}

function targetLines(target: Target): string[] {
  const { path, role, identity, medium, method, verified, overwrittenBytes, discard, verdict } = target;
  const devices = medium.devices.map((d) =>
    [d.name, d.model, d.serial === null ? null : `serial ${d.serial}`].filter((t) => t !== null).join(" "),
  );
  const lines = [
    `${printable(path)}: ${ROLE[role]}${target.disk === null ? "" : ` ${printable(target.disk.name)}`}, ${humanSize(identity.size)}${verdict === null ? "" : `: ${verdict}`}`,
    `  on ${MEDIUM[medium.type]}${devices.length > 0 ? ` (${devices.map(printable).join(", ")})` : ""}${target.lvUuid === null ? "" : `, logical volume ${target.lvUuid}`}`,
    ...(target.disk === null ? [] : [`  the bytes that were migrated, SHA-256 ${target.disk.sha256}`]),
    `  ${methodLine(target)}`,
  ];
  if (verified !== null)
    lines.push(
      `  ${humanSize(overwrittenBytes ?? 0)} overwritten, ${verified.samples} samples read back${method === "random-overwrite+discard" ? `, ${discard === null ? "not given back" : GIVEN[discard]}` : ""}${target.removed ? ", removed" : ""}`,
    );
  const doubts = verdict === null ? medium.doubts.map((d) => `not proven: ${d}`) : target.residual;
  return [...lines, ...doubts.map((text) => `  ${printable(text)}`)];
}

const GIVEN: Readonly<Record<NonNullable<Target["discard"]>, string>> = {
  discarded: "discarded",
  holes: "its blocks given back",
  unsupported: "no discard possible",
};

function methodLine({ method, wasPlaintext }: Target): string {
  const history = wasPlaintext ? "was plaintext" : "encrypted from its first write";
  switch (method) {
    case "random-overwrite":
      return `${history}: one pass of random bytes over all that is allocated`;
    case "random-overwrite+discard":
      return `${history}: one pass of random bytes over all that is allocated, then discard`;
    case "luks-erase":
      return `${history}, as the operator says: all keyslots erased, the header's area overwritten`;
  }
}

function operatorLine({ operator, begun, ended }: RetireDocument): string {
  return `by ${printable(operator.user)} (uid ${operator.uid}) on ${printable(operator.host)}, ${begun} to ${ended ?? "-"}`;
}
