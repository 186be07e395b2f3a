import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { KeyProvider, KeyRequest, Secret } from "../core/layer.ts";
import type { DomainDisk } from "../libvirt/domain.ts";
import { type DomainSecret, parseSecret, secretXml } from "../libvirt/secret-xml.ts";
import { quote } from "../plan/quote.ts";
import type { TreeNode } from "../stack/tree.ts";
import { virsh } from "../tools/virsh.ts";
import { defineSecret, setSecretValue } from "../tools/virsh-secret.ts";
import { wholeDisk } from "./convert.ts";
import { pathOf } from "./guest-sources.ts";
import { type Guest, type GuestOptions, listGuests, readGuest } from "./guests.ts";
import { openForInspection } from "./open-for-reading.ts";

/** A secret of libvirt's with which QEMU decrypts disks of a guest. */
export interface SecretNeed {
  readonly uuid: string;
  /** At least one. */
  readonly disks: readonly DomainDisk[];
}

/** The secrets that a guest's disks name by their UUID. */
export function secretsOf({ domain }: Guest): SecretNeed[] {
  const byUuid = new Map<string, DomainDisk[]>();
  for (const disk of domain.disks) {
    const uuid = disk.encryption?.secret;
    if (uuid && disk.encryption?.format === "luks") byUuid.set(uuid, [...(byUuid.get(uuid) ?? []), disk]);
  }
  return [...byUuid].map(([uuid, disks]) => ({ uuid, disks }));
}

/** Disks that name their secret in another way, which nobody here looks up. */
export function unnamedSecrets({ domain }: Guest): string[] {
  return domain.disks.filter((d) => d.encryption !== null && d.encryption.secret === null).map((d) => d.target);
}

/** For a person: `vda, vdb`. */
export function disksOf({ disks }: SecretNeed): string {
  return disks.map((d) => d.target).join(", ");
}

/** What libvirt has of a secret; null: nothing. */
export async function secretNow(
  uuid: string,
  guest: Pick<Guest, "uri">,
  { signal }: GuestOptions,
): Promise<DomainSecret | null> {
  const known = await virsh(["secret-list"], { uri: guest.uri, readOnly: true, signal });
  if (!known.includes(uuid)) return null;
  return parseSecret(await virsh(["secret-dumpxml", `--secret=${uuid}`], { uri: guest.uri, readOnly: true, signal }));
}

/** What is known of a persistent secret, which libvirt keeps on its own disk. Throws `key` when it has no value there. */
export async function keptReason(
  need: SecretNeed,
  now: DomainSecret,
  guest: Guest,
  { signal }: GuestOptions,
): Promise<string> {
  if (now.private) return "libvirt keeps it on its own disk, and does not tell whether it has a value";
  try {
    await virsh(["secret-get-value", `--secret=${need.uuid}`], { uri: guest.uri, signal });
  } catch (error) {
    if (!(error instanceof StorageError) || !/does not have a value/.test(error.message)) throw error;
    throw new StorageError("key", `the secret of ${disksOf(need)} of the guest ${printable(guest.name)} has no value`, {
      layer: "libvirt",
      hint: `it would lie on libvirt's disk: virsh secret-undefine ${need.uuid}, and repeat; one is made then that is in memory only`,
    });
  }
  return "libvirt keeps it on its own disk";
}

/** Makes an ephemeral secret with this value, or gives the one that is there its value anew. Killed in it, it does not count as given. */
export async function provideSecret(
  uuid: string,
  path: string,
  value: Uint8Array,
  { uri, now }: { readonly uri: string | null; readonly now: DomainSecret | null },
): Promise<void> {
  const ours = now?.ours ?? true;
  if (ours) await defineSecret(secretXml(uuid, path, false), uri);
  await setSecretValue(uuid, value, uri);
  if (ours) await defineSecret(secretXml(uuid, path, true), uri);
}

export async function forgetSecret(uuid: string, guest: Pick<Guest, "uri">, { signal }: GuestOptions): Promise<void> {
  await virsh(["secret-undefine", `--secret=${uuid}`], { uri: guest.uri, signal });
}

/** The commands that give it, as a person would type them; the value is asked for. */
export async function giveCommands(need: SecretNeed, guest: Guest, now: DomainSecret | null): Promise<string[]> {
  const define = `printf %s ${quote(secretXml(need.uuid, await placeOf(need, guest), false))} | virsh secret-define --file=/dev/stdin`;
  return [...(now === null ? [define] : []), `virsh secret-set-value --secret=${need.uuid} --interactive`];
}

/**
 * Gives libvirt the passphrase: first our own reader has to open the header of each disk with it. Throws `key` when none does, and then
 * libvirt knows nothing new.
 */
export async function giveSecret(
  need: SecretNeed,
  guest: Guest,
  options: GuestOptions & { readonly keys: KeyProvider; readonly now: DomainSecret | null },
): Promise<void> {
  let asked: KeyProvider = options.keys;
  let key: Uint8Array | null = null;
  for (const disk of need.disks) {
    const oneByOne = new OneByOne(asked);
    if (!(await opens(disk, guest, oneByOne, options)) || oneByOne.last === null) {
      throw new StorageError("key", `no key opens ${disk.target} of the guest ${printable(guest.name)}`, {
        layer: "luks",
        hint: "--key-file FILE, or type the passphrase on a terminal; of a key file every byte counts",
      });
    }
    key = oneByOne.last.bytes;
    // They share the secret: the same key has to open them all.
    asked = only(oneByOne.last);
  }
  if (key === null) return;
  await provideSecret(need.uuid, await placeOf(need, guest), key, { uri: guest.uri, now: options.now });
}

/** Other guests that are not off and whose disks name the same secret. */
export async function otherUsers(need: SecretNeed, guest: Guest, options: GuestOptions): Promise<string[]> {
  const users: string[] = [];
  for (const entry of (await listGuests(options)).guests) {
    if (entry.uri !== guest.uri || entry.uuid === guest.uuid) continue;
    const other = await readGuest(entry, options).catch(() => null);
    if (other === null || other.state === "shut off") continue;
    if (secretsOf(other).some((s) => s.uuid === need.uuid)) users.push(other.name);
  }
  return users;
}

async function placeOf({ disks, uuid }: SecretNeed, guest: Guest): Promise<string> {
  const place = await pathOf(disks[0]!.place, guest, {});
  return place.kind === "file" || place.kind === "block" ? place.path : uuid;
}

async function opens(disk: DomainDisk, guest: Guest, keys: KeyProvider, options: GuestOptions): Promise<boolean> {
  const sources = [`vm:${guest.uuid}`];
  const connect = guest.uri ?? options.connect;
  const { signal } = options;
  await using opened = await openForInspection({ sources, guestDisks: [disk.target], connect, keys, signal });
  return isOpen(opened.stack.tree.roots[0]!);
}

/** Whether the disk's own LUKS, in a raw disk or inside its image, was opened. */
function isOpen(root: TreeNode): boolean {
  const [below] = root.children;
  if (below?.kind !== "raw") return wholeDisk(root) !== null;
  const luks = below.children.find((n) => n.kind === "luks1" || n.kind === "luks2");
  return luks !== undefined && luks.details.locked === undefined && luks.content !== null;
}

function only(secret: Secret): KeyProvider {
  return { secretsFor: async ({ attempt }) => (attempt === 1 ? [secret] : []) };
}

/** Hands out one key at a time, and to the first container only, so that it is known afterwards which one opened that. */
class OneByOne implements KeyProvider {
  last: Secret | null = null;
  readonly #from: KeyProvider;
  #uuid: string | null = null;
  #round = 0;
  #left: Secret[] = [];

  constructor(from: KeyProvider) {
    this.#from = from;
  }

  async secretsFor(request: KeyRequest): Promise<readonly Secret[]> {
    this.#uuid ??= request.uuid;
    if (request.uuid !== this.#uuid) return [];
    if (this.#left.length === 0)
      this.#left = [...(await this.#from.secretsFor({ ...request, attempt: ++this.#round }))];
    const next = this.#left.shift();
    if (next === undefined) return [];
    this.last = next;
    return [next];
  }
}
