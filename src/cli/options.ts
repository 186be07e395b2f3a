import { type Command, InvalidArgumentError, Option } from "commander";
import { StorageError } from "../core/errors.ts";
import { IMAGE_FORMATS, type ImageFormat } from "../core/layer.ts";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";
import type { NewLuksFlags } from "./luks-options.ts";

/** Options of every verb that opens sources. */
export interface SourceFlags {
  readonly format?: "raw" | ImageFormat;
  readonly allowPath?: readonly string[];
  readonly keyFile?: readonly string[];
  readonly keyFd?: number;
  readonly prompt: boolean;
  readonly header?: string;
  readonly inside?: readonly string[];
  readonly insideFormat?: "raw" | ImageFormat;
  readonly snapshot?: string;
  readonly connect?: string;
  readonly iKnow?: boolean;
  readonly limit?: readonly string[];
  readonly json?: boolean;
  readonly debug?: boolean;
}

export interface CheckFlags extends SourceFlags {
  readonly volume?: readonly string[];
  readonly repair?: boolean;
  readonly preen?: boolean;
  readonly force?: boolean;
  readonly xfsZeroLog?: boolean;
  readonly checkerTimeout: number;
  readonly shutdown?: boolean;
  readonly timeout: number;
  readonly forceOff?: boolean;
  readonly live?: boolean;
  readonly quiesce?: boolean;
  readonly scratch?: string;
  readonly via?: "backup" | "lvm-snapshot";
  readonly snapshotSize?: number;
}

export interface ExecFlags extends SourceFlags {
  readonly volume: string;
  readonly write?: boolean;
  readonly force?: boolean;
  /** The tool and its arguments. */
  readonly command: readonly string[];
}

export interface ExportFlags extends SourceFlags {
  readonly volume: string;
  readonly nbd?: string;
  readonly fuse?: string;
  readonly write?: boolean;
}

export interface MountFlags extends SourceFlags {
  readonly volume: string;
}

export interface UndoFlags {
  readonly force?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

export interface ReadFlags extends SourceFlags {
  readonly volume: string;
  readonly offset?: number;
  readonly length?: number;
}

export interface FilesFlags extends SourceFlags {
  readonly volume: string;
}

export interface ListFlags extends FilesFlags {
  readonly long?: boolean;
  readonly recursive?: boolean;
  readonly directory?: boolean;
}

export interface ListGuestsFlags extends PlainFlags {
  readonly connect?: string;
}

export interface CopyFlags extends FilesFlags {
  readonly recursive?: boolean;
  readonly special?: boolean;
  readonly verbose?: boolean;
}

export interface RunsFlags extends PlainFlags {
  readonly accept?: string;
  readonly prune?: number;
  readonly yes?: boolean;
}

export interface ConvertFlags extends SourceFlags, NewLuksFlags {
  readonly volume?: string;
  readonly to?: "raw" | "qcow2" | "luks";
  readonly toLuks?: boolean;
  readonly overwrite?: boolean;
  readonly verify?: boolean;
}

export interface PlanFlags extends SourceFlags {
  readonly volume?: readonly string[];
  readonly repair?: boolean;
  readonly rename?: boolean;
}

export interface PlainFlags {
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** For options that may be given several times. */
export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

/** A count of bytes: a number, or with a suffix K, M, G, T (powers of 1024). */
export function parseBytes(value: string): number {
  const match = /^(\d+)\s*([kmgt]?)(?:i?b)?$/i.exec(value.trim());
  const n = match ? Number(match[1]) * 1024 ** ["", "k", "m", "g", "t"].indexOf(match[2]!.toLowerCase()) : Number.NaN;
  if (!Number.isSafeInteger(n)) throw new InvalidArgumentError("a number of bytes is wanted, such as 512, 64K or 2G");
  return n;
}

export function parseCount(value: string): number {
  const n = Number(value);
  if (!Number.isSafeInteger(n) || n < 0) throw new InvalidArgumentError("a whole number is wanted");
  return n;
}

/** The heading of a verb's own options in its --help: commander's default. */
export const OWN_OPTIONS = "Options:";

/** Adds SOURCE… and what belongs to it, under a heading of its own. */
export function withSources(command: Command): Command {
  return command
    .argument(
      "<source...>",
      "image files, block devices, nbd+unix:///EXPORT?socket=PATH or vm:GUEST (all disks of a libvirt guest); several are resolved together",
    )
    .optionsGroup("Options of all verbs that open sources:")
    .addOption(new Option("--format <format>", "do not detect the image format").choices(["raw", ...IMAGE_FORMATS]))
    .option("--allow-path <dir>", "let images name backing files in this folder (repeatable)", collect)
    .option("--key-file <file>", "key for LUKS: FILE, UUID=FILE, or - for stdin (repeatable)", collect)
    .option("--key-fd <n>", "read a key from this file descriptor", parseCount)
    .option("--no-prompt", "never ask for a passphrase on the terminal")
    .option("--inside <place>", "the source is an image in a volume: [VOLUME:]/path (repeatable: inside that)", collect)
    .addOption(
      new Option("--inside-format <format>", "do not detect the format of the image inside").choices([
        "raw",
        ...IMAGE_FORMATS,
      ]),
    )
    .option("--header <file>", "detached LUKS header of the first source")
    .option(
      "--snapshot <name>",
      "read this internal snapshot (name or id) of the images instead of their present state",
    )
    .option("--connect <uri>", "libvirt's connection for vm:GUEST; default: as virsh")
    .option(
      "--i-know",
      "open a network disk although nothing keeps others from writing to it, change an image although others lie on it",
    )
    .option("--limit <name=value>", "raise a named limit (repeatable)", collect)
    .option("--debug", "show stack traces")
    .optionsGroup(OWN_OPTIONS);
}

/** The volume selector option; `repeat` for verbs that take several. */
export function withVolume(command: Command, repeat: boolean): Command {
  const text = "volume: lvg1/lvroot, p2, sda2, UUID=…, LABEL=…, as inspect prints it";
  command.showHelpAfterError(`hint: unterbau inspect lists the volumes, unterbau ${command.name()} --help the options`);
  return repeat
    ? command.option("--volume <selector>", `${text} (repeatable; default: all)`, collect)
    : command.requiredOption("--volume <selector>", text);
}

export function limitsFrom(flags: readonly string[] | undefined): Limits {
  const limits: Record<string, number> = { ...DEFAULT_LIMITS };
  for (const flag of flags ?? []) {
    const [name = "", value = ""] = flag.split("=", 2);
    const n = Number(value);
    if (!(name in limits) || value === "" || !Number.isSafeInteger(n) || n < 0) {
      throw new StorageError("usage", `--limit ${flag} is not understood`, {
        hint: `the names are: ${Object.keys(DEFAULT_LIMITS).join(", ")}`,
      });
    }
    limits[name] = n;
  }
  return limits as unknown as Limits;
}
