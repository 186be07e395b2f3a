import { spawn } from "node:child_process";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { BootDocument } from "../../src/usecases/boot-documents.ts";
import { CLI, must, run, unterbau } from "../helpers/cli.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { qemuDomain, type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";

const UUID = uuidOf(1);
const UNIT = "unterbau-guest-mail\\x20server.service";
/** Devices are files here: crypttab takes both. The last line has no end. */
const crypttab = (at: string) => `# this host
root UUID=2505567a-9e27-4efe-a4d5-15ad146c258b none luks,initramfs
mail-crypt ${at}/mail.luks none luks,noauto,discard
images\t${at}/images.luks /etc/images.key luks,noauto,nofail`;
const FSTAB =
  "/dev/mapper/root / ext4 defaults 0 1\n/dev/mapper/images  /srv/vm\\040images  ext4\tnoauto,noatime 0 2\n";

let daemon: SessionDaemon;
let root: string;
beforeAll(async () => {
  daemon = await startSessionDaemon();
});
afterAll(() => daemon?.end());
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "unterbau-boot-"));
  for (const folder of ["etc/systemd/system", "usr/lib/systemd/system", "dev"])
    mkdirSync(join(root, folder), { recursive: true });
  for (const name of ["mail.luks", "images.luks"]) writeFileSync(join(daemon.folder, name), "");
  writeFileSync(join(root, "etc/crypttab"), crypttab(daemon.folder), { mode: 0o640 });
  writeFileSync(join(root, "etc/fstab"), FSTAB);
  writeFileSync(join(root, "etc/images.key"), "key");
  // A host with libvirt's socket enabled.
  writeFileSync(
    join(root, "usr/lib/systemd/system/libvirtd.socket"),
    "[Socket]\nListenStream=/run/x\n[Install]\nWantedBy=sockets.target\n",
  );
  await must("systemctl", [`--root=${root}`, "enable", "libvirtd.socket"]);
  const disks = `<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/mapper/mail-crypt'/><target dev='vda' bus='virtio'/></disk>${fileDisk("/srv/vm images/data.raw", "raw", "vdb")}`;
  const xml = join(daemon.folder, "mail.xml");
  writeFileSync(xml, qemuDomain("mail server", UUID, disks));
  await daemon.virsh("define", xml);
});
afterEach(async () => {
  await run("virsh", ["-c", daemon.uri, "undefine", UUID]);
  rmSync(root, { recursive: true, force: true });
});

const ajv = new Ajv({ strict: true, allowUnionTypes: true });
const validate = ajv.compile(JSON.parse(readFileSync("docs/schemas/boot.json", "utf8")) as object);
const cli = (action: string, ...more: string[]) =>
  unterbau(["boot", action, "vm:mail server", "--root", root, "--connect", daemon.uri, ...more]);
async function boot(action: string, ...more: string[]): Promise<BootDocument> {
  const { code, stdout, stderr } = await cli(action, "--json", ...more);
  expect(stderr).toBe("");
  const doc = JSON.parse(stdout.toString()) as BootDocument;
  expect(validate(doc), ajv.errorsText(validate.errors)).toBe(true);
  expect(doc.exitCode).toBe(code);
  return doc;
}
const autostart = async () => /^Autostart: *(\w+)/m.exec(await daemon.virsh("dominfo", UUID))?.[1];
const read = (path: string) => readFileSync(join(root, path), "utf8");
/** Every file of the tree with its content and mode, but for what is kept on purpose. */
function tree(folder = root): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() || e.isSymbolicLink())
    .map((e) => join(e.parentPath, e.name))
    .filter((path) => !/\.unterbau-\d{8}-\d{6}/.test(path))
    .map((path) => {
      const stat = lstatSync(path);
      const content = stat.isSymbolicLink() ? readlinkSync(path) : readFileSync(path, "latin1");
      return `${path} ${(stat.mode & 0o777).toString(8)} ${content}`;
    })
    .sort();
}

describe("boot", () => {
  it("says what keeps the guest and the host from starting; enable mends it, disable takes all of it back", async () => {
    await daemon.virsh("autostart", UUID);
    const untouched = tree();
    const before = await boot("status");
    expect(before.steps.map(({ kind, name, ok }) => [kind, name, ok])).toEqual([
      ["crypt", "mail-crypt", false],
      ["crypt", "images", true],
      ["mount", "/srv/vm images", false],
      ["libvirt", "libvirt", true],
      ["guest", "mail server", false],
    ]);
    expect(before).toMatchObject({ enabled: false, willStart: "no", exitCode: 1 });
    const plan = await boot("enable", "--dry-run");
    expect(plan.changes.map((c) => `${c.action} ${c.path}`)).toEqual([
      "edit /etc/crypttab",
      "edit /etc/fstab",
      `create /etc/systemd/system/${UNIT}`,
      "create /etc/systemd/system/dev-mapper-mail\\x2dcrypt.device.d/unterbau-guest-mail\\x20server.conf",
      "create /etc/systemd/system/dev-mapper-images.device.d/unterbau-guest-mail\\x20server.conf",
      `enable ${UNIT}`,
      "autostart-off mail server",
    ]);
    expect(plan.changes[0]!.diff).toContain(
      `-mail-crypt ${daemon.folder}/mail.luks none luks,noauto,discard\n+mail-crypt ${daemon.folder}/mail.luks none luks,noauto,discard,nofail\n`,
    );
    expect(plan.changes[1]!.diff).toContain(
      "+/dev/mapper/images  /srv/vm\\040images  ext4\tnoauto,noatime,nofail 0 2\n",
    );
    const refused = await cli("enable");
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("--yes")]);
    expect(tree()).toEqual(untouched);

    const done = await boot("enable", "--yes");
    expect(done).toMatchObject({ enabled: true, willStart: "after-passphrase", exitCode: 0 });
    expect(done.remarks.join()).toContain("systemd-tty-ask-password-agent");
    expect(read(done.changes[0]!.backup!)).toBe(crypttab(daemon.folder));
    expect(read(done.changes[1]!.backup!)).toBe(FSTAB);
    expect((statSync(join(root, "etc/crypttab")).mode & 0o777).toString(8)).toBe("640");
    expect(await autostart()).toBe("disable");
    const written = tree();
    expect((await boot("enable", "--yes")).changes).toEqual([]);
    expect(tree()).toEqual(written);
    expect(await boot("status")).toMatchObject({ enabled: true, willStart: "after-passphrase", exitCode: 0 });

    const back = await boot("disable", "--yes");
    expect(back).toMatchObject({ enabled: false, exitCode: 0 });
    expect(tree()).toEqual(untouched);
    expect(await autostart()).toBe("enable");
    expect((await boot("disable", "--yes")).changes).toEqual([]);
  });

  it("writes units in which systemd finds no fault, and that hold up nothing", async () => {
    await boot("enable", "--yes");
    const units = join(root, "etc/systemd/system");
    const env = {
      SYSTEMD_PROC_CMDLINE: "quiet",
      SYSTEMD_CRYPTTAB: join(root, "etc/crypttab"),
      SYSTEMD_FSTAB: join(root, "etc/fstab"),
    };
    const generated = join(root, "generated");
    mkdirSync(generated);
    for (const name of ["cryptsetup", "fstab"])
      await must(`/usr/lib/systemd/system-generators/systemd-${name}-generator`, [generated, generated, generated], {
        env,
      });
    const unit = join(units, UNIT);
    const path = `${units}:${generated}:/usr/lib/systemd/system:/lib/systemd/system`;
    const verify = await run("systemd-analyze", ["verify", "--man=no", "--recursive-errors=no", unit], {
      env: { SYSTEMD_UNIT_PATH: path },
    });
    expect([verify.code, verify.stderr]).toEqual([0, ""]);
    const show = (name: string) => readFileSync(join(generated, name), "utf8");
    for (const name of ["systemd-cryptsetup@mail\\x2dcrypt.service", "srv-vm\\x20images.mount"])
      expect(show(name)).not.toMatch(/^Before=(cryptsetup|local-fs)\.target$/m);
    const text = readFileSync(unit, "utf8");
    for (const name of ["mail\\x2dcrypt", "images"]) {
      expect(text).toContain(`Requires=systemd-cryptsetup@${name}.service\n`);
      expect(text).toContain(`After=systemd-cryptsetup@${name}.service\n`);
    }
    expect(text).toContain('RequiresMountsFor="/srv/vm images"\n');
    // What it calls is understood: it finds the guest, whose volumes this host has not.
    const [, line = ""] = /^ExecStart=(.*)$/m.exec(text)!;
    const started = await run("sh", ["-c", line.replaceAll("%%", "%")]);
    expect([started.code, started.stderr]).toEqual([
      1,
      expect.stringContaining("the guest mail server needs /dev/mapper/mail-crypt"),
    ]);
  });

  it("leaves what somebody changed since, and names it", async () => {
    await boot("enable", "--yes");
    const unit = join(root, "etc/systemd/system", UNIT);
    writeFileSync(unit, `${readFileSync(unit, "utf8")}# mine\n`);
    const own = read("etc/crypttab").replace("discard,nofail", "discard,nofail,timeout=9");
    writeFileSync(join(root, "etc/crypttab"), own);
    const status = await boot("status");
    expect(status.steps.at(-1)!.how).toContain("edited since");
    const back = await boot("disable", "--yes");
    expect(back.exitCode).toBe(1);
    expect(back.remarks.join("\n")).toMatch(
      /crypttab: the line .* was changed since[\s\S]*unterbau-guest.* was changed since/,
    );
    expect(read("etc/crypttab")).toBe(own);
    expect(read("etc/fstab")).toBe(FSTAB);
    expect(readFileSync(unit, "utf8")).toContain("# mine");
  });

  it("killed anywhere, disable takes back what is there, and enable goes on", async () => {
    const untouched = tree();
    const args = [CLI, "boot", "enable", "vm:mail server", "--root", root, "--connect", daemon.uri, "--yes"];
    for (const ms of [150, 250, 300, 350, 400, 500]) {
      const child = spawn(process.execPath, args, { stdio: "ignore" });
      const over = new Promise((done) => child.on("exit", done));
      setTimeout(() => child.kill("SIGKILL"), ms);
      await over;
      if (ms === 350) await boot("enable", "--yes");
      await boot("disable", "--yes");
      expect(tree()).toEqual(untouched);
    }
  });

  it("refuses what it cannot declare or find", async () => {
    writeFileSync(join(root, "etc/crypttab"), "# nothing\n");
    const { code, stderr } = await cli("enable", "--yes");
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining("the guest mail server needs /dev/mapper/mail-crypt, which is not there"),
    ]);
    const nobody = await unterbau(["boot", "enable", "vm:web", "--root", root, "--connect", daemon.uri]);
    expect([nobody.code, nobody.stderr]).toEqual([2, expect.stringContaining("there is no guest web")]);
    expect((await cli("enable", "--root", "/nowhere")).code).toBe(1);
    const none = await unterbau(["boot", "enable"]);
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining("vm:guest")]);
  });
});
