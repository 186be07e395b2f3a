import { createHash } from "node:crypto";
import type { Answers, AnswersKind } from "../../src/answers/model.ts";
import { parseAnswers } from "../../src/answers/parse.ts";
import { canonicalJson } from "../../src/audit/canonical.ts";
import * as bak from "../../src/audit/catalogue/bak.ts";
import * as del from "../../src/audit/catalogue/del.ts";
import * as disc from "../../src/audit/catalogue/disc.ts";
import * as enc from "../../src/audit/catalogue/enc.ts";
import * as gov from "../../src/audit/catalogue/gov.ts";
import * as inv from "../../src/audit/catalogue/inv.ts";
import * as key from "../../src/audit/catalogue/key.ts";
import * as leak from "../../src/audit/catalogue/leak.ts";
import * as mail from "../../src/audit/catalogue/mail.ts";
import * as net from "../../src/audit/catalogue/net.ts";
import * as perm from "../../src/audit/catalogue/perm.ts";
import type { AuditDocument, AuditGuest, AuditLayer, State, Value } from "../../src/audit/model.ts";
import type { CheckInfo, Material } from "../../src/report/gdpr/material.ts";

const OF_GUESTS = /^(ENC|NET|MAIL|LEAK-0[457]|PERM-0[134]|KEY-03)/;
const AT = "2026-11-24T10:00:00.000Z";
const HASH = "0123456789abcdef".repeat(4);

/** All 40 checks as the catalogue has them, with one plain sentence each. */
export const CHECK_INFOS: readonly CheckInfo[] = [inv, enc, key, leak, disc, perm, net, bak, mail, del, gov]
  .flatMap((module) => Object.values(module))
  .map((entry) => ({
    ...entry,
    about: OF_GUESTS.test(entry.id) ? "guest" : "host",
    explanation: { de: `Warum ${entry.id} zählt.`, en: `Why ${entry.id} matters.` },
    remedy: { de: `Was bei ${entry.id} zu tun ist.`, en: `What to do about ${entry.id}.` },
    sentences: {
      seen: { de: "{disk} an {place}: {what}.", en: "{disk} at {place}: {what}." },
      address: { de: "Regel {rule} erlaubt {peer} für {other}.", en: "Rule {rule} allows {peer} for {other}." },
    },
  }));

export interface SampleOptions {
  readonly lang?: "de" | "en";
  readonly audience?: Material["audience"];
  /** `ENC-01/web` or `INV-01` → state; others pass. `missing`: not run. */
  readonly states?: Readonly<Record<string, State | "missing">>;
  readonly office?: string | null;
  readonly client?: string | null;
  /** In place of every free text of the host. */
  readonly hostile?: string;
}

const value = (kind: Value["kind"], v: string | number): Value => ({ kind, value: v });

function layer(
  kind: string,
  name: string,
  encrypts: boolean,
  below: readonly AuditLayer[],
  serial?: string,
): AuditLayer {
  return {
    kind,
    name,
    path: `/dev/${name}`,
    cipher: encrypts ? "aes-xts-plain64" : null,
    keyBits: encrypts ? 512 : null,
    encrypts,
    medium: serial === undefined ? null : { rotational: false, transport: "nvme", model: "Sample SSD", serial },
    below,
  };
}

function guest(name: string, encrypted: boolean): AuditGuest {
  const disk = (n: number) => layer("disk", `nvme${n}n1`, false, [], `S3R1AL${n}`);
  const below = encrypted
    ? [layer("crypt", "data_crypt", true, [layer("raid1", "md0", false, [disk(0), disk(1)])])]
    : [disk(2)];
  return {
    name,
    uuid: "a02523b8-fea2-5369-add0-0c2f184f2203",
    state: "running",
    autostart: false,
    disks: [
      {
        target: "vda",
        device: "disk",
        format: "raw",
        readOnly: false,
        place: `/dev/vg1/${name}`,
        encrypted: encrypted ? "yes" : "no",
        layers: layer("lvm", `vg1-${name}`, false, below),
        problem: null,
      },
    ],
  };
}

/** A host with the guests mail (all is well) and web, whose states a test chooses. */
export function sampleMaterial(options: SampleOptions = {}): Material {
  const { states = {}, hostile } = options;
  const mailName = "mail";
  const webName = hostile ?? "web";
  const outcomes = CHECK_INFOS.flatMap(({ id, about }) => {
    const subjects = about === "guest" ? [mailName, webName] : [null];
    return subjects.flatMap((subject) => {
      const named = subject === webName ? "web" : subject;
      const state = states[named === null ? id : `${id}/${named}`] ?? states[id] ?? "pass";
      if (state === "missing") return [];
      const remark = {
        state,
        code: id.startsWith("NET") ? "address" : "seen",
        values: {
          disk: value("text", hostile ?? "vda"),
          place: value("path", hostile ?? "/dev/vg1/disk"),
          what: value("number", 42),
          rule: value("rule", hostile ?? "ip saddr 192.0.2.7 accept"),
          peer: value("address", hostile ?? "192.0.2.7"),
          other: value("guest", subject ?? mailName),
        },
      };
      return [{ id, guest: subject, state, at: AT, remarks: [remark], facts: {}, evidence: [1, 2] }];
    });
  });
  const audit: AuditDocument = {
    schema: "unterbau/audit/1",
    run: "20261124-100000-abcd",
    started: AT,
    ended: "2026-11-24T10:00:02.000Z",
    program: { name: "unterbau", version: "0.1.0" },
    host: {
      name: hostile ?? "kvm1",
      machineIdSha256: HASH,
      os: hostile ?? "Debian GNU/Linux 12 (bookworm)",
      kernel: "6.1.0-42-amd64",
      recorded: true,
    },
    policy: { date: "2026-11", file: null, sha256: HASH },
    guests: [guest(mailName, true), { ...guest("web", false), name: webName }],
    checks: outcomes,
    evidence: [
      {
        n: 1,
        kind: "command",
        what: ["/usr/bin/lsblk", "-J", hostile ?? "/dev/vg1/mail"],
        at: AT,
        exit: 0,
        version: hostile ?? "lsblk from util-linux 2.38.1",
        sha256: HASH,
        sha256Redacted: null,
        bytes: 512,
        file: "raw/0001",
      },
      {
        n: 2,
        kind: "file",
        what: [hostile ?? "/etc/crypttab"],
        at: AT,
        exit: null,
        version: null,
        sha256: HASH,
        sha256Redacted: HASH.split("").reverse().join(""),
        bytes: 100,
        file: "raw/0002",
      },
    ],
    previous: null,
    state: "pass",
  };
  return {
    audit,
    manifestSha256: createHash("sha256").update(canonicalJson(audit)).digest("hex"),
    checks: CHECK_INFOS,
    office: answers("office", options.office === undefined ? OFFICE : options.office),
    client: answers("client", options.client === undefined ? CLIENT : options.client),
    clientName: "muster-gmbh",
    lang: options.lang ?? "de",
    audience: options.audience ?? "client",
  };
}

function answers(kind: AnswersKind, yaml: string | null): Answers | null {
  if (yaml === null) return null;
  const parsed = parseAnswers(`schema: unterbau/answers/1\nfile: ${kind}\nlanguage: de\n${yaml}`, kind);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.answers;
}

const BY = "  by: Ada Beispiel\n  date: 2026-11-01\n";
const OFFICE = `Q03:\n${BY}  name: Büro Beispiel, Musterweg 1, 12345 Köln\n  contact: Ada Beispiel\n  has-dpo: no
Q11:\n${BY}  rows:\n    - name: Postdienst AG\n      address: Straße 2, Bern\n      country: Schweiz\n      contract: 2025-01-15
Q32:\n  by: Ada Beispiel\n  date: 2025-11-01\n  access: Nur Ada; Tür mit Sicherheitsschloss
Q33:\n${BY}  who: Ada\n`;
const CLIENT = `guests: [mail, web]
Q01:\n${BY}  role: both\n  reason: Wartung nach Weisung
Q02:\n${BY}  name: Muster GmbH, Köln\n  contact: Max Muster
Q09:\n${BY}  need: high\n  agreed: 2026-10-01
Q42:\n${BY}  rows:
    - subject: ENC-01\n      guest: web\n      decision: accepted\n      measure: Umzug auf LUKS\n      owner: Ada\n      deadline: 2027-01-31\n      notified: 2026-11-02
    - subject: R6\n      decision: accepted\n      deadline: 2026-01-31\n`;
