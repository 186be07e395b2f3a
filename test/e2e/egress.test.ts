import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parsePrefix } from "../../src/audit/net/addresses.ts";
import { egressOf, type Place } from "../../src/audit/net/egress.ts";
import { parseNft } from "../../src/audit/net/nft.ts";
import { parseNwFilter } from "../../src/audit/net/nwfilter.ts";
import { CLI, must, run, unterbau } from "../helpers/cli.ts";
import { testGuests, uuidOf } from "../helpers/libvirt.ts";

const MAC = "52:54:00:00:00:0a";
const card = (source: string, more = "") =>
  `<interface type='${source.startsWith("br") ? "bridge" : "network"}'><mac address='${MAC}'/><source ${source.startsWith("br") ? "bridge" : "network"}='${source}'/>${more}</interface>`;
const SCOPE = `egress:
  routed: &peers
    dns: [198.51.100.53, "2001:db8::53"]
    ntp: [198.51.100.123]
    peers:
      - { name: "Provider \\u2192 'x' } <y>", addresses: [198.51.100.25, 203.0.113.0/28, "2001:db8:1::/64"], ports: [25, "465-587"] }
  bridged: *peers
  closed: {}
  wrong: { peers: [{ name: x, addresses: [192.0.2.1], ports: [0] }] }
`;

let folder: string;
let uri: string;
let scope: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-egress-test-"));
  scope = join(folder, "scope.yaml");
  writeFileSync(scope, SCOPE.replace(/^ {2}wrong.*\n/m, ""));
  const network = `<network><name>lan</name><uuid>11111111-0000-4000-8000-000000000000</uuid><forward mode='nat'/><bridge name='virbr7'/><ip address='192.168.7.1' netmask='255.255.255.0'/></network>`;
  const filter = "<filterref filter='clean-traffic'><parameter name='IP' value='192.168.7.10'/></filterref>";
  uri = testGuests(
    folder,
    [
      { name: "routed", devices: card("lan") },
      { name: "bridged", devices: card("br0", filter) },
      { name: "closed", devices: card("br0") },
      {
        name: "macvtap",
        devices:
          "<interface type='direct'><mac address='52:54:00:00:00:0b'/><source dev='eth0' mode='bridge'/></interface>",
      },
    ],
    network,
  );
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const plan = async (guest: string, ...more: string[]) => {
  const { stdout, stderr, code } = await unterbau([
    "egress",
    "plan",
    `vm:${guest}`,
    "--scope",
    scope,
    "--connect",
    uri,
    ...more,
  ]);
  return { text: stdout.toString(), stderr, code };
};

/** A network of its own, in which this user is root. */
const alone = (script: string, env: Record<string, string> = {}) =>
  run("unshare", ["--user", "--map-root-user", "--net", "sh", "-ec", script], { env });

const place = (way: "routed" | "bridged"): Place => ({
  tap: "vnet0",
  bridge: way === "routed" ? "virbr7" : "br0",
  way,
  mac: MAC,
  addresses: [parsePrefix("192.168.7.10")!],
  networks: [],
  filter: null,
  parameters: new Map([
    ["MAC", [MAC]],
    ["IP", ["192.168.7.10"]],
  ]),
  running: true,
  bridgeCalls: { 4: true, 6: true },
});

const PEERS = ["198.51.100.123", "198.51.100.25", "198.51.100.53", "203.0.113.0/28"];

describe("a plan for nft", () => {
  it.each(["routed", "bridged"] as const)(
    "is taken by nft, and lets a %s guest reach its peers only",
    async (guest) => {
      const { text, code } = await plan(guest, "--format", "nft");
      expect(code).toBe(0);
      const file = join(folder, `${guest}.nft`);
      const tracked = "\t\tct state established,related accept\n";
      expect(text).toContain(tracked);
      // Not every kernel that runs these tests tracks connections on bridges.
      writeFileSync(file, guest === "bridged" ? text.replace(tracked, "") : text);
      const { stdout, stderr, code: taken } = await alone(`nft -c -f '${file}'; nft -f '${file}'; nft -j list ruleset`);
      expect([taken, stderr]).toEqual([0, ""]);
      const chains = parseNft(stdout.toString())!;
      const { v4, v6 } = egressOf(place(guest), { chains, whole: true, filters: new Map() });
      expect([v4.rest, v6.rest]).toEqual(["drop", "drop"]);
      const reached = [
        ...new Set(v4.accepts.filter((a) => a.ports?.[0]?.first !== 67).flatMap((a) => a.destinations ?? ["any"])),
      ];
      expect(reached.sort()).toEqual(PEERS);
      expect(v6.accepts.flatMap((a) => a.destinations ?? ["any"])).toEqual(
        expect.arrayContaining(["2001:db8::53", "2001:db8:1::/64"]),
      );
      // Another guest's packets go on as before.
      expect(
        egressOf({ ...place(guest), mac: "52:54:00:00:00:99" }, { chains, whole: true, filters: new Map() }).v4.rest,
      ).toBe("accept");
    },
  );

  it("is applied and taken back by a run", async () => {
    const env = { UNTERBAU_STATE_DIR: join(folder, "state") };
    const cli = `'${process.execPath}' '${CLI}' egress`;
    const apply = `${cli} plan vm:routed --scope '${scope}' --connect '${uri}' --format nft --apply`;
    const { stdout, stderr, code } = await alone(
      `cd '${folder}'
       nft add table inet before
       ${apply} >/dev/null 2>applied; nft list tables
       if ${apply} >/dev/null 2>again; then exit 9; fi
       run=$(sed -n 's/.*egress undo \\([0-9a-f-]*\\).*/\\1/p' applied)
       ${cli} undo $run >&2
       nft list tables
       if ${cli} undo $run 2>gone; then exit 9; fi
       cat again gone >&2`,
      env,
    );
    expect([code, stdout.toString()]).toEqual([
      0,
      `table inet before\ntable inet unterbau_egress_${uuidOf(0).slice(0, 8)}\ntable inet before\n`,
    ]);
    expect(stderr).toMatch(/taken back for routed/);
    expect(stderr).toMatch(/in force already/);
    expect(stderr).toMatch(/no rules were applied by a run/);
  });
});

describe("a plan for nwfilter", () => {
  it("is valid for libvirt, and lets the guest reach its peers only", async () => {
    const { text, code } = await plan("bridged");
    expect(code).toBe(0);
    const file = join(folder, "filter.xml");
    writeFileSync(file, text);
    await must("virt-xml-validate", [file, "nwfilter"]);
    const all: { argv: string[]; stdout: string }[] = JSON.parse(
      readFileSync("test/hosts/good/.recorded/commands.json", "utf8"),
    );
    const shipped = all.filter((c) => c.argv.includes("nwfilter-dumpxml")).map((c) => parseNwFilter(c.stdout));
    const own = parseNwFilter(text);
    const filters = new Map([...shipped, own].map((f) => [f.name, f] as const));
    const found = egressOf({ ...place("bridged"), filter: own.name }, { chains: [], whole: true, filters });
    expect(found).toMatchObject({
      v4: { rest: "drop" },
      v6: { rest: "drop" },
      foreignMac: "stopped",
      foreignAddress: "stopped",
    });
    const reached = found.v4.accepts
      .filter((a) => a.ports?.[0]?.first !== 67)
      .flatMap((a) => a.destinations ?? ["any"]);
    expect([...new Set(reached)].sort()).toEqual(PEERS);
  });

  it("is defined and referred to, and what was there comes back", async () => {
    // libvirt's test driver knows no filters: virsh is played by a script that shows the guest and keeps what it is given.
    const bin = join(folder, "bin");
    mkdirSync(bin);
    const log = join(folder, "log");
    const real = (await must("sh", ["-c", "command -v virsh"])).trim();
    writeFileSync(
      join(bin, "virsh"),
      `#!/bin/sh
for a in "$@"; do case $a in
  nwfilter-dumpxml) exit 1;;
  nwfilter-list) echo " 8-4 unterbau-egress-bridged"; exit 0;;
  nwfilter-define|nwfilter-undefine|update-device)
    echo "$@" | sed 's/.*'$a'/'$a'/; s/--file=[^ ]*//' >>'${log}'
    for f in "$@"; do case $f in --file=*) cat "\${f#--file=}" >>'${log}'; echo >>'${log}';; esac; done
    [ "$a" = "\${FAIL:-}" ] && { echo "error: it does not" >&2; exit 1; }
    exit 0;;
esac; done
exec '${real}' "$@"
`,
    );
    chmodSync(join(bin, "virsh"), 0o755);
    const env = { UNTERBAU_STATE_DIR: join(folder, "state2"), PATH: `${bin}:${process.env.PATH}` };
    const cli = `'${process.execPath}' '${CLI}' egress`;
    const apply = `${cli} plan vm:bridged --scope '${scope}' --connect '${uri}' --apply --json`;
    const applied = await alone(apply, env);
    expect([applied.code, applied.stderr]).toEqual([0, ""]);
    const { run: id } = JSON.parse(applied.stdout.toString());
    const first = readFileSync(log, "utf8");
    expect(first).toMatch(/^nwfilter-define/);
    expect(first).toMatch(
      /update-device .*--config[\s\S]*filterref filter=["']unterbau-egress-bridged["'][\s\S]*192\.168\.7\.10/,
    );
    writeFileSync(log, "");
    const undone = await alone(`${cli} undo ${id}`, env);
    expect([undone.code, undone.stderr]).toEqual([0, ""]);
    const back = readFileSync(log, "utf8");
    expect(back).toMatch(/^update-device .*--config[\s\S]*filterref filter=["']clean-traffic["']/);
    expect(back).toMatch(/nwfilter-undefine --nwfilter=unterbau-egress-bridged/);

    // Libvirt refuses the interface: the filter does not stay behind.
    writeFileSync(log, "");
    const failed = await alone(apply, { ...env, FAIL: "update-device" });
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/egress undo/);
    const kept = await alone(`${cli} undo 20200101-000000-0000`, env);
    expect(kept.stderr).toMatch(/there are: \d{8}-/);
  });
});

describe("refused", () => {
  it("is who is not root, by name of what to do", async () => {
    const { stderr, code } = await run(
      "setpriv",
      [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        process.execPath,
        CLI,
        "egress",
        "undo",
        "20200101-000000-0000",
      ],
      { env: { UNTERBAU_STATE_DIR: join(folder, "none"), HOME: folder } },
    );
    expect([code, stderr]).toEqual([2, expect.stringMatching(/by root only[\s\S]*hint: run it with sudo/)]);
  });

  it("is a guest that goes past all filters, or for which nothing is declared", async () => {
    writeFileSync(scope, `${SCOPE.replace(/^ {2}wrong.*\n/m, "")}  macvtap: {}\n`);
    expect((await plan("macvtap")).stderr).toMatch(/goes past every filter/);
    writeFileSync(scope, "egress: {}\n");
    expect((await plan("routed")).stderr).toMatch(/declares nothing of what routed may reach/);
    writeFileSync(scope, SCOPE);
    expect((await plan("routed")).stderr).toMatch(/egress\.wrong\.peers\.0\.ports\.0/);
  });
});
