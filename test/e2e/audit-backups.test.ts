import { mkdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AuditDocument } from "../../src/audit/model.ts";
import { auditAltered } from "../helpers/altered-host.ts";
import { must, unterbau } from "../helpers/cli.ts";
import { outcomeOf } from "../helpers/hosts.ts";
import { fileDisk, testGuests } from "../helpers/libvirt.ts";
import { temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const HOUR = 3_600_000;
/** borg takes times of its zone without saying which: it is run in UTC. */
const borgTime = (date: Date) => date.toISOString().slice(0, 19);
const ago = (hours: number) => new Date(Math.floor((Date.now() - hours * HOUR) / 1000) * 1000);

let uri: string;
let env: Record<string, string>;
const times = { plain: ago(30), sealed: ago(2), file: ago(100), restic: ago(5) };

beforeAll(async () => {
  env = { UNTERBAU_STATE_DIR: at("state"), HOME: folder.path, TZ: "UTC" };
  writeFileSync(at("data"), "what is kept");
  writeFileSync(at("pass word'"), "a password of a repository");
  const sealed = { ...env, BORG_PASSPHRASE: "a password of a repository" };
  await must("borg", ["init", "--encryption=none", at("plain")], { env });
  await must("borg", ["init", "--encryption=repokey", at("sealed")], { env: sealed });
  const create = (place: string, name: string, time: Date, own = env) =>
    must("borg", ["create", `--timestamp=${borgTime(time)}`, `${place}::${name}`, at("data")], { env: own });
  await create(at("plain"), "newer", times.plain);
  // The order in which archives were made is not that of their times.
  await create(at("plain"), "older", ago(300));
  await create(at("sealed"), "one", times.sealed, sealed);
  const restic = ["--repo", at("restic"), "--password-file", at("pass word'")];
  await must("restic", ["init", ...restic], { env });
  const stamp = borgTime(times.restic).replace("T", " ");
  await must("restic", ["backup", ...restic, "--time", stamp, at("data")], { env });
  mkdirSync(at("files"));
  for (const [name, time] of [
    ["a.tar", times.file],
    ["b.tar", ago(400)],
  ] as const) {
    writeFileSync(join(at("files"), name), "");
    utimesSync(join(at("files"), name), time, time);
  }
  await must("truncate", ["-s", "16M", at("disk.raw")]);
  await must("mke2fs", ["-q", "-F", at("disk.raw")]);
  uri = testGuests(folder.path, [{ name: "post", devices: fileDisk(at("disk.raw"), "raw") }]);
}, 60_000);
afterAll(() => folder.remove());

async function audit(scope: string, more: readonly string[] = [], own = env): Promise<AuditDocument> {
  writeFileSync(at("scope.yaml"), scope);
  const args = ["audit", "--no-keep", "--json", "--connect", uri, "--scope", at("scope.yaml"), ...more];
  const { stdout, stderr, code } = await unterbau(args, { env: own });
  expect(code, stderr).toBeLessThanOrEqual(2);
  return JSON.parse(stdout.toString()) as AuditDocument;
}

interface Facts {
  readonly backups: readonly {
    readonly name: string;
    readonly last: string | null;
    readonly problem: string | null;
    readonly encryption: string | null;
    readonly sealed: boolean | null;
  }[];
}
const entry = (name: string, kind: string, place: string, more = "") =>
  `  - { name: ${name}, kind: ${kind}, place: "${place}", intervalHours: 24${more} }\n`;

describe("backups as their own programs tell of them", () => {
  it("borg, restic, a folder of files and one of ours", async () => {
    const own = await unterbau(["backup", "vm:post", "--to", at("own"), "--json", "--connect", uri], { env });
    expect(own.code, own.stderr).toBe(0);
    const made = JSON.parse(own.stdout.toString()) as { id: string };
    const password = `, passwordFile: "${at("pass word'")}"`;
    const doc = await audit(
      `backups:\n${[
        entry("plain", "borg", at("plain")),
        entry("sealed", "borg", at("sealed"), password),
        entry("locked", "borg", at("sealed")),
        entry("restic", "restic", at("restic"), password),
        entry("files", "file", at("files")),
        entry("own", "unterbau", at("own")),
        entry("gone", "borg", at("nowhere")),
      ].join("")}`,
    );
    const { backups } = outcomeOf(doc, "BAK-01", "post").facts as Facts;
    const told = Object.fromEntries(backups.map((b) => [b.name, b]));
    expect(told.plain).toMatchObject({ last: times.plain.toISOString(), encryption: "none", sealed: false });
    expect(told.sealed).toMatchObject({ last: times.sealed.toISOString(), encryption: "repokey", sealed: true });
    expect(told.restic).toMatchObject({ last: times.restic.toISOString(), sealed: true });
    expect(told.files).toMatchObject({ last: times.file.toISOString(), encryption: null });
    // Without its password borg tells nothing, and that is no age.
    for (const name of ["locked", "gone"]) {
      expect(told[name], name).toMatchObject({ last: null, problem: expect.stringMatching(/\w/) });
    }
    const age = Date.now() - Date.parse(told.own!.last!);
    expect(age).toBeGreaterThanOrEqual(0);
    expect(age).toBeLessThan(HOUR);
    expect(made.id).toContain(told.own!.last!.slice(0, 10).replaceAll("-", ""));
    const codes = outcomeOf(doc, "BAK-01", "post").remarks.map((r) => r.code);
    expect(codes).toEqual(["late", "recent", "unknown", "recent", "old", "recent", "unknown"]);
    const secrets = outcomeOf(doc, "BAK-02", "post").remarks.map((r) => r.code);
    expect(secrets[1]).toBe("key-here-only");
    expect(JSON.stringify(doc)).not.toContain("a password of a repository");
  }, 60_000);

  it("a backup of ours that is not whole, or is another guest's, is none", async () => {
    mkdirSync(at("other"));
    for (const [name, text] of [
      ["20990101-000000-aaaa.partial", ""],
      [
        "20990101-000000-bbbb",
        JSON.stringify({ schema: "unterbau/backup-manifest/1", uuid: "x", created: "2099-01-01" }),
      ],
      ["20990101-000000-cccc", "{"],
    ] as const) {
      mkdirSync(join(at("other"), name));
      writeFileSync(join(at("other"), name, "manifest.json"), text);
    }
    const doc = await audit(`backups:\n${entry("other", "unterbau", at("other"))}`);
    expect(outcomeOf(doc, "BAK-01", "post").remarks.map((r) => r.code)).toEqual(["never"]);
  });
});

describe("a systemd timer", () => {
  // systemctl 252 on Debian 12: `show --timestamp=unix --property=…`, in the order of the manager's own list.
  const UNIT = ["systemctl", "show", "--timestamp=unix", "--property=LoadState,LastTriggerUSec,Unit", "--", "b.timer"];
  const SERVICE = [
    ...UNIT.slice(0, 3),
    "--property=Result,ExecMainExitTimestamp,ExecMainStatus",
    "--",
    "borg-backup.service",
  ];
  // The good host was recorded at 06:00 UTC on 2026-11-24.
  const LAST = Date.UTC(2026, 10, 24, 2) / 1000;
  const seen = async (timer: string, service: string | null) => {
    const doc = await auditAltered({
      scope: (text) =>
        text.replace(
          / {2}- name: nightly\n {4}kind: restic\n {4}place: \S+\n/,
          "  - name: t\n    kind: timer\n    place: b\n",
        ),
      added: [{ argv: UNIT, stdout: timer }, ...(service === null ? [] : [{ argv: SERVICE, stdout: service }])],
    });
    const { state, remarks } = outcomeOf(doc, "BAK-01", "mail");
    return [state, remarks[0]!.code, remarks[0]!.values.date?.value];
  };
  const timer = (last: number) => `Unit=borg-backup.service\nLastTriggerUSec=@${last}\nLoadState=loaded\n`;
  const iso = (seconds: number) => new Date(seconds * 1000).toISOString();

  it("counts from the end of its last run; after a restart of the host from its start", async () => {
    const ran = `Result=success\nExecMainExitTimestamp=@${LAST + 600}\nExecMainStatus=0\n`;
    expect(await seen(timer(LAST), ran)).toEqual(["pass", "recent", iso(LAST + 600)]);
    const never = "Result=success\nExecMainExitTimestamp=\nExecMainStatus=0\n";
    expect(await seen(timer(LAST), never)).toEqual(["pass", "recent", iso(LAST)]);
    expect((await seen(timer(LAST - 5 * 86_400), never))[1]).toBe("old");
  });

  it("whose run failed, that never ran, or that is not there", async () => {
    const failed = `Result=exit-code\nExecMainExitTimestamp=@${LAST}\nExecMainStatus=2\n`;
    expect((await seen(timer(LAST), failed)).slice(0, 2)).toEqual(["fail", "failed"]);
    const never = "Unit=borg-backup.service\nLastTriggerUSec=\nLoadState=loaded\n";
    expect((await seen(never, "Result=success\nExecMainExitTimestamp=\n")).slice(0, 2)).toEqual(["fail", "never"]);
    const missing = "Unit=\nLastTriggerUSec=\nLoadState=not-found\n";
    expect((await seen(missing, null)).slice(0, 2)).toEqual(["unknown", "unknown"]);
  });
});

describe("records of deletions and of headers", () => {
  it("are read where they are written, also when that folder is another, and from the record of a host", async () => {
    await must("truncate", ["-s", "16M", at("luks.raw")]);
    const format = [
      "luksFormat",
      "-q",
      "--type",
      "luks1",
      "--pbkdf-force-iterations",
      "1000",
      "--key-file",
      at("data"),
    ];
    await must("cryptsetup", [...format, at("luks.raw")]);
    mkdirSync(at("headers"));
    const backup = await unterbau(["header", "backup", at("luks.raw"), "--to", at("headers"), "--json"], { env });
    expect(backup.code, backup.stderr).toBe(0);
    const scope = `deletions:\n  - { name: ${at("luks.raw")}, date: 2026-11-01, medium: hdd, wasPlaintext: false, method: luks-erase-and-headers }\n`;
    const codes = (doc: AuditDocument) => outcomeOf(doc, "DEL-02").remarks.map((r) => r.code);
    const record = at("record");
    expect(codes(await audit(scope, ["--record", record]))).toContain("header");
    // Without the folder there is no such record.
    expect(codes(await audit(scope, [], { ...env, UNTERBAU_STATE_DIR: at("other-state") }))).not.toContain("header");
    const args = ["audit", "--no-keep", "--json", "--root", record, "--scope", at("scope.yaml")];
    const again = await unterbau(args, { env: { ...env, UNTERBAU_STATE_DIR: at("other-state") } });
    expect(codes(JSON.parse(again.stdout.toString()) as AuditDocument)).toContain("header");
    rmSync(record, { recursive: true });
  });
});
