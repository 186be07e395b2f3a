import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { DoctorDocument } from "../../src/usecases/doctor.ts";
import { CLI, type CliResult, run, unterbau } from "../helpers/cli.ts";
import { damage, makeGuest } from "../helpers/guest.ts";

let folder: string;
let env: Record<string, string>;
const DEAD = { pid: 4_000_000, startTime: "1", bootId: "another" };

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-doctor-"));
  env = {
    UNTERBAU_STATE_DIR: join(folder, "state"),
    UNTERBAU_RUN_DIR: join(folder, "run"),
    VIRSH_DEFAULT_CONNECT_URI: "test:///default",
  };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(
  JSON.parse(readFileSync("docs/schemas/doctor.json", "utf8")) as object,
);

function documentOf(result: CliResult): (name: string) => DoctorDocument["items"][number] {
  const document = JSON.parse(result.stdout.toString()) as DoctorDocument;
  expect(validate(document)).toBe(true);
  return (name) => document.items.find((i) => i.name === name)!;
}

it("tries all that the main job needs, and asks libvirt", async () => {
  const r = await unterbau(["doctor", "--json"], { env });
  const item = documentOf(r);
  expect(r.code).toBe(0);
  for (const name of ["bwrap", "e2fsck", "cage", "private mount", "/dev/fuse", "state folder", "fuse2fs"])
    expect(item(name), name).toMatchObject({ ok: true, install: null });
  expect(item("libvirt").detail).toBe("test:///default answers, 1 guest");
  const text = (await unterbau(["doctor"], { env })).stdout.toString();
  expect(text).toMatch(/^Programs\nok +bwrap +\/\S+\n/);
  expect(text).toContain("\n\nThis host\n");
});

it("names what is missing, what is lost, and the command that brings it", async () => {
  const script =
    'for f in fuse2fs e2fsck; do mount --bind /dev/null "$(command -v $f)"; done; mount --bind "$1" /etc/os-release; shift; exec "$@"';
  const release = join(folder, "os-release");
  writeFileSync(release, 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n');
  const hidden = (...more: string[]) =>
    run("unshare", ["-m", "sh", "-c", script, "sh", release, process.execPath, CLI, "doctor", ...more], {
      env: { ...env, VIRSH_DEFAULT_CONNECT_URI: "test:///nothing/here" },
    });
  const r = await hidden("--json");
  expect(r.code).toBe(1);
  const item = documentOf(r);
  expect(item("fuse2fs")).toMatchObject({ ok: false, required: false, install: "zypper install /usr/bin/fuse2fs" });
  expect(item("libvirt")).toMatchObject({ ok: false, required: false });
  const text = (await hidden()).stdout.toString();
  expect(text).toMatch(/^missing fuse2fs .*\n {9,}without it: mount: .*\n {9,}to install: zypper install/m);
});

it("for a user: what only root can see is no failure", async () => {
  const runs = join(folder, "closed/runs");
  mkdirSync(runs, { recursive: true, mode: 0o700 });
  const argv = ["--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, CLI, "doctor", "--json"];
  chmodSync(folder, 0o755);
  chmodSync(join(folder, "closed"), 0o755);
  const r = await run("setpriv", argv, { env: { ...env, UNTERBAU_STATE_DIR: join(folder, "closed") } });
  const document = JSON.parse(r.stdout.toString()) as DoctorDocument;
  expect(document.items.find((i) => i.name === "all runs")).toMatchObject({
    group: "host",
    ok: false,
    required: false,
  });
  expect(document.items.filter((i) => i.group === "left-behind" && !i.ok)).toEqual([]);
  // It cannot write its undo logs there, which is one.
  expect(document.items.filter((i) => i.required && !i.ok).map((i) => i.name)).toEqual(["state folder"]);
  expect(r.code).toBe(1);
});

it("says what killed commands have left, with exit code 1", async () => {
  const guest = await makeGuest(folder, "mbr-ext4");
  await damage(guest.disks[0]!, guest.root.offset);
  expect((await unterbau(["check", guest.disks[0]!, "--repair"], { env })).code).toBe(1);
  const runs = join(folder, "state/runs");
  const [id] = readdirSync(runs);
  const record = join(runs, id!, "run.json");
  const value = JSON.parse(readFileSync(record, "utf8")) as object;
  writeFileSync(record, JSON.stringify({ ...value, status: "running", ended: null, owner: DEAD }));
  mkdirSync(join(folder, "run"), { recursive: true });
  const journal = { schema: "unterbau/plan-journal/1", owner: DEAD, plan: { tag: "x", steps: [] } };
  writeFileSync(join(folder, "run/x.plan"), `${JSON.stringify(journal)}\n`);
  writeFileSync(join(folder, "run/y.plan"), "nothing\n");
  const r = await unterbau(["doctor", "--json"], { env });
  expect(r.code).toBe(1);
  const item = documentOf(r);
  expect(item("crashed runs").detail).toBe(`${id} (${guest.disks[0]})`);
  expect(item("plans").detail).toBe(`${join(folder, "run/x.plan")}; ${join(folder, "run/y.plan")}`);
  expect(item("mounts")).toMatchObject({ ok: true });
  const text = (await unterbau(["doctor"], { env })).stdout.toString();
  expect(text).toMatch(/^LEFT +plans .*\n {9,}.*unterbau recover/m);
});
