import type { ImageFormat, KeyProvider } from "../core/layer.ts";
import type { Limits } from "../core/limits.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import { PathGate } from "../stack/gate.ts";
import type { StackOptions } from "../stack/resolver.ts";

/** What libvirt says of a source that is a guest's disk. */
export interface Declared {
  readonly guest: string;
  /** `vda` */
  readonly target: string;
  readonly format: "raw" | ImageFormat;
  /** The guest itself cannot write to it. */
  readonly readOnly: boolean;
  /** Images below it, topmost first, as far as libvirt names them; with `chainEnds` nothing else is there. */
  readonly backing: readonly { readonly path: string; readonly format: "raw" | ImageFormat }[];
  readonly chainEnds: boolean;
}

/** How the user named and qualified the sources. */
export interface SourceOptions {
  /** Paths, `nbd+unix:` URIs, and `vm:NAME` for the disks of a guest. */
  readonly sources: readonly string[];
  readonly keys: KeyProvider;
  readonly format?: "raw" | ImageFormat | undefined;
  readonly allowPath?: readonly string[] | undefined;
  readonly limits?: Limits | undefined;
  /** An internal snapshot, by name or id, to be read in place of the disk as it is now; all sources must have it, or the last image inside. */
  readonly snapshot?: string | undefined;
  /**
   * Images inside: `[SELECTOR:]/path` in a volume of the sources, which then is the source in their place; the next one lies in that.
   * For reading only.
   */
  readonly inside?: readonly string[] | undefined;
  /** The format of the last image inside, in place of looking at it. */
  readonly insideFormat?: "raw" | ImageFormat | undefined;
  /** Path of a detached LUKS header for the first source. */
  readonly header?: string | undefined;
  /** Of `vm:` only these disks (`vda`); default: all. */
  readonly guestDisks?: readonly string[] | undefined;
  /** libvirt's connection URI for `vm:`. */
  readonly connect?: string | undefined;
  /** The user says that nobody writes to what cannot be locked. */
  readonly iKnow?: boolean | undefined;
  /** By name of the source; made from `vm:`. */
  readonly declared?: ReadonlyMap<string, Declared> | undefined;
  /** Much will be read in order: large requests then go to the thread pool, so that one chunk is fetched while another is worked on. */
  readonly streaming?: boolean | undefined;
  /** Nothing is locked, so that a guest can be started meanwhile; `ReadStack.confirm` tells whether one was. */
  readonly look?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Messages for a person: a crashed run that was rolled back. */
  readonly note?: ((text: string) => void) | undefined;
}

/** The format that was said, by the user or by libvirt. */
export function formatOf(name: string, { format, declared }: SourceOptions): "raw" | ImageFormat | null {
  return format ?? declared?.get(name)?.format ?? null;
}

/** Of a disk of a guest: whose it is, for the tree. */
export function guestOf(
  name: string,
  { declared }: SourceOptions,
): { readonly guest?: string; readonly target?: string } {
  const disk = declared?.get(name);
  return disk ? { guest: disk.guest, target: disk.target } : {};
}

/** Images that libvirt itself names below a disk are the administrator's choice, not the image's. */
export function gateFor({ allowPath = [], declared }: SourceOptions): PathGate {
  const images = [...(declared?.values() ?? [])].flatMap((d) => d.backing.map((b) => b.path));
  return new PathGate([...allowPath, ...images]);
}

/** By real path, the formats that libvirt names of the images below the disks; undefined: no source is a guest's. */
export function declaredFormats({ declared }: SourceOptions): StackOptions["formatOf"] {
  if (declared === undefined) return undefined;
  const images = [...declared.values()].flatMap((d) => d.backing);
  return (path) => images.find((image) => sourceIdentity(image.path).realpath === path)?.format ?? null;
}
