/**
 * The last `NAME=VALUE` of a settings file in the manner of systemd, of shells' defaults and of libvirt (`name = "value"`); `#` begins a
 * comment line. Null: it is not set.
 */
export function settingOf(text: string, name: string): string | null {
  let found: string | null = null;
  for (const line of text.split("\n", 100_000)) {
    const match = /^\s*(?:export\s+)?([\w.-]+)\s*=\s*(.*?)\s*$/.exec(line);
    if (match?.[1] === name) found = match[2]!.replace(/^(["'])(.*?)\1.*$/, "$2");
  }
  return found;
}

/** The value of a parameter on the kernel's command line; `true` for a bare word, null: it is not there. All values, in order. */
export function kernelParameters(text: string, name: string): (string | true)[] {
  return text
    .trim()
    .split(/\s+/, 10_000)
    .flatMap((word): (string | true)[] => {
      if (word === name) return [true];
      return word.startsWith(`${name}=`) ? [word.slice(name.length + 1)] : [];
    });
}
