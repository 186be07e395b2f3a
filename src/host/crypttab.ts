import { readFileSync } from "node:fs";

/** One line of crypttab(5). */
export interface CryptEntry {
  readonly name: string;
  /** Path of a device or of a file; `UUID=…` and the like become the link that udev makes. */
  readonly device: string;
  /** Null: a passphrase is asked for. */
  readonly keyFile: string | null;
  readonly options: readonly string[];
  /** From 1. */
  readonly line: number;
}

/** Reads crypttab(5); lines that are none are left out, as systemd leaves them out. */
export function parseCrypttab(text: string): CryptEntry[] {
  return text.split("\n").flatMap((raw, i) => {
    // Unlike in fstab, systemd knows no escapes here.
    const [name, device, key = "none", options = ""] = tableFields(raw);
    if (name === undefined || device === undefined) return [];
    return [
      {
        name,
        device: devicePath(device),
        keyFile: key === "none" || key === "-" ? null : key,
        options: options.split(",").filter((o) => o !== "" && o !== "none" && o !== "-"),
        line: i + 1,
      },
    ];
  });
}

/** The value of `name=value`; true for a bare name, null when it is absent. The last one counts. */
export function cryptOption(entry: CryptEntry, name: string): string | true | null {
  let found: string | true | null = null;
  for (const option of entry.options) {
    if (option === name) found = true;
    else if (option.startsWith(`${name}=`)) found = option.slice(name.length + 1);
  }
  return found;
}

/** Fields of a line of fstab(5) or crypttab(5), as they stand there; none for a comment. */
export function tableFields(line: string): string[] {
  const text = line.trim();
  return text === "" || text.startsWith("#") ? [] : text.split(/[ \t]+/);
}

export function unescapeOctal(text: string): string {
  // As bytes: an escape may be a part of a UTF-8 sequence.
  if (!text.includes("\\")) return text;
  const bytes = Buffer.from(text).toString("latin1");
  const plain = bytes.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
  return Buffer.from(plain, "latin1").toString();
}

/** `UUID=…`, `LABEL=…`, `PARTUUID=…`, `PARTLABEL=…` as udev's link; what is none stays as it is. */
export function devicePath(spec: string): string {
  const match = /^(UUID|LABEL|PARTUUID|PARTLABEL|ID)="?([^"]*)"?$/.exec(spec);
  if (!match) return spec;
  const [, kind = "", value = ""] = match;
  return `/dev/disk/by-${kind.toLowerCase()}/${udevName(value)}`;
}

/** As udev writes a label into the name of a link (libblkid, blkid_encode_string): what is not harmless becomes `\xNN`. */
function udevName(text: string): string {
  return [...Buffer.from(text)]
    .map((b) => {
      const c = String.fromCharCode(b);
      return b >= 0x80 || /[A-Za-z0-9#+\-.:=@_]/.test(c) ? c : `\\x${b.toString(16).padStart(2, "0")}`;
    })
    .join("");
}

/** A table of this host; empty when there is none. */
export function readTable(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
