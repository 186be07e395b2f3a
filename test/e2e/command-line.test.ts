import { describe, expect, it } from "vitest";
import { unterbau } from "../helpers/cli.ts";

/** What --help lists below the headings of commands, by name. */
function verbsIn(help: string): string[] {
  const commands = help.slice(help.indexOf("  -h, --help"));
  return [...commands.matchAll(/^ {2}([a-z][a-z-]*) {2,}\S/gm)].map((m) => m[1]!).filter((name) => name !== "help");
}

async function helpOf(...verb: string[]): Promise<string> {
  const { code, stdout, stderr } = await unterbau([...verb, "--help"]);
  expect([verb, code, stderr]).toEqual([verb, 0, ""]);
  return stdout.toString();
}

describe("--help", () => {
  it("lists every verb once, and each explains itself with an example", async () => {
    const help = await helpOf();
    const verbs = verbsIn(help);
    expect(verbs.length).toBe(new Set(verbs).size);
    for (const verb of ["inspect", "check", "undo", "migrate", "audit", "report", "doctor"])
      expect(verbs).toContain(verb);
    const explain = async (...verb: string[]): Promise<void> => {
      const text = await helpOf(...verb);
      expect(text).toContain(`Usage: unterbau ${verb.join(" ")}`);
      const below = verbsIn(text);
      if (below.length === 0) expect(text, verb.join(" ")).toMatch(/^Examples?:\n( {2}.*\n)*? {2}unterbau /m);
      for (const action of below) await explain(...verb, action);
    };
    for (const verb of verbs) await explain(verb);
  });

  it("shows what belongs to the verb before what belongs to its sources", async () => {
    const text = await helpOf("check");
    expect(text.indexOf("--repair")).toBeLessThan(text.indexOf("--key-file"));
    expect(text.indexOf("\nOptions:")).toBeLessThan(text.indexOf("\nOptions of all verbs that open sources:"));
  });
});

describe("a wrong command line", () => {
  const HELP = "hint: unterbau --help lists the verbs, unterbau VERB --help explains one\n";
  const VOLUMES = (verb: string) => `hint: unterbau inspect lists the volumes, unterbau ${verb} --help the options\n`;

  it.each([
    [["chek", "a"], 2, `unterbau: unknown command 'chek'\n(Did you mean check?)\n${HELP}`],
    [["inspect"], 2, `unterbau: missing required argument 'source'\n${HELP}`],
    [
      ["check", "a", "--repare"],
      16,
      `unterbau: unknown option '--repare'\n(Did you mean --repair?)\n${VOLUMES("check")}`,
    ],
    [["read", "a"], 2, `unterbau: required option '--volume <selector>' not specified\n${VOLUMES("read")}`],
    [
      ["read", "a", "--volume", "p1", "--offset", "1x"],
      2,
      `unterbau: --offset <n> '1x': a number of bytes is wanted, such as 512, 64K or 2G\n${VOLUMES("read")}`,
    ],
    [["unlock", "os43"], 2, `unterbau: 'os43': a guest is named vm:NAME, such as vm:os43\n${HELP}`],
    [
      ["exec", "a", "--volume", "p1", "tune2fs", "-l", "{}"],
      2,
      "unterbau: unknown option '-l'\nhint: the tool stands behind --, as in: unterbau exec DISK --volume VOLUME -- tune2fs -l {}\n",
    ],
    [
      ["inspect", "/nowhere/os43.qcow2"],
      1,
      "unterbau: there is no /nowhere/os43.qcow2 (file)\nhint: check the path; a guest of libvirt is named vm:NAME\n",
    ],
    [["inspect", "/"], 2, "unterbau: / is a directory (file)\nhint: name an image file or a block device\n"],
    [
      ["export", "a", "--volume", "p1"],
      2,
      "unterbau: say how: --nbd SOCKET or --fuse FILE\nhint: for example: --nbd /tmp/volume.sock, for qemu-img, nbdkit or guestfish\n",
    ],
  ])("%s is said in the form of all errors, with what to do", async (args, code, text) => {
    const done = await unterbau(args);
    expect([done.code, done.stderr, done.stdout.toString()]).toEqual([code, text, ""]);
  });
});
