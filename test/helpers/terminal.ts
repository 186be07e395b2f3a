import { must } from "./cli.ts";

/** What is waited for on the screen, and what is typed then. */
export type Step = readonly [expect: string, type: string];

export const KEYS = { enter: "\r", down: "\u001b[B", interrupt: "\u0003" } as const;

/**
 * Runs a program on a terminal of its own (pty(7)), 200 columns wide. What is waited for has to appear after what was waited for before; else, or when
 * a step takes more than 20 s, it fails with what was seen last. `settle`: the program must have written nothing for that long before it is typed.
 */
const DRIVER = `
import json, os, pty, select, signal, struct, sys, termios, fcntl, time
job = json.load(sys.stdin)
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(job["env"])
    os.execvp(job["argv"][0], job["argv"])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
seen, at = b"", 0
def read(timeout):
    global seen
    if not select.select([fd], [], [], timeout)[0]: return False
    try: data = os.read(fd, 65536)
    except OSError: data = b""
    seen += data
    return data != b""
def fail(why):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    sys.exit(why + "\\n" + seen[-3000:].decode(errors="replace"))
for expected, text in job["steps"]:
    end, wanted = time.monotonic() + 20, expected.encode()
    while (found := seen.find(wanted, at)) < 0:
        if time.monotonic() > end or not read(max(0.0, end - time.monotonic())): fail("waited for: " + expected)
    at = found + len(wanted)
    while read(0.015): pass
    os.write(fd, text.encode())
while read(20): pass
_, status = os.waitpid(pid, 0)
json.dump({"code": os.waitstatus_to_exitcode(status), "screen": seen.decode(errors="replace")}, sys.stdout)
`;

/** Answers a program's prompts as a person does. */
export async function onTerminal(
  argv: readonly string[],
  steps: readonly Step[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number; readonly screen: string }> {
  const own = { TERM: "xterm", NO_COLOR: "1", ...env };
  const input = Buffer.from(JSON.stringify({ argv, steps, env: own }));
  return JSON.parse(await must("python3", ["-c", DRIVER], { input }));
}
