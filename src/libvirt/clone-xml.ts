import { type Element, XMLSerializer } from "@xmldom/xmldom";
import { StorageError } from "../core/errors.ts";
import { type Guard, withGuard } from "./guard.ts";
import { attributeOf, childOf, childrenOf, parseXml } from "./xml.ts";

/** How the copy of a guest differs from it. */
export interface CloneChanges {
  readonly name: string;
  readonly uuid: string;
  /** The disks that are other ones now. */
  readonly disks: readonly DiskChanges[];
  /** Discards go through to the places. */
  readonly discard: boolean;
  /** The network cards get new addresses. */
  readonly newAddresses: boolean;
  /** The file with the firmware's variables, in place of the old one's. */
  readonly nvram: string | null;
  readonly guard: Guard;
}

export interface DiskChanges {
  /** `vda` */
  readonly disk: string;
  readonly source: { readonly kind: "file" | "block"; readonly path: string };
  /** QEMU decrypts, with this secret of libvirt's; null: the host does. */
  readonly secret: string | null;
  /** `cache=none io=native`, which wants a place that can be opened with O_DIRECT. */
  readonly direct: boolean;
}

/** The domain of a guest's copy (libvirt, "Domain XML format"): what is not named in `changes` is kept, unknown elements too. */
export function cloneXml(xml: string, changes: CloneChanges): string {
  const domain = parseXml(xml, "domain");
  const before = childOf(domain, "uuid")?.textContent ?? "";
  setText(domain, "name", changes.name);
  setText(domain, "uuid", changes.uuid);
  // An id is that of a domain that runs.
  domain.removeAttribute("id");
  for (const sysinfo of childrenOf(domain, "sysinfo")) {
    // libvirt wants this one to be the domain's own.
    for (const entry of childrenOf(childOf(sysinfo, "system") ?? sysinfo, "entry"))
      if (attributeOf(entry, "name") === "uuid" && entry.textContent === before) entry.textContent = changes.uuid;
  }
  const devices = childOf(domain, "devices");
  for (const change of changes.disks) {
    const disk =
      devices && childrenOf(devices, "disk").find((d) => attributeOf(childOf(d, "target"), "dev") === change.disk);
    if (!disk) throw new StorageError("corrupt", `the domain has no disk ${change.disk}`, { layer: "libvirt" });
    changeDisk(disk, change, changes.discard);
  }
  if (devices && changes.newAddresses)
    for (const card of childrenOf(devices, "interface"))
      for (const mac of childrenOf(card, "mac")) card.removeChild(mac);
  if (changes.nvram !== null) changeNvram(domain, changes.nvram);
  return withGuard(new XMLSerializer().serializeToString(domain.ownerDocument!), changes.guard);
}

function changeDisk(disk: Element, { source, secret, direct }: DiskChanges, discard: boolean): void {
  const document = disk.ownerDocument!;
  disk.setAttribute("type", source.kind);
  // A LUN that was handed through is a disk like others now, and takes no SCSI commands of its own.
  disk.setAttribute("device", "disk");
  for (const name of ["rawio", "sgio"]) disk.removeAttribute(name);
  for (const name of ["backingStore", "mirror", "encryption", "auth"])
    for (const element of childrenOf(disk, name)) disk.removeChild(element);
  let driver = childOf(disk, "driver");
  if (!driver) {
    driver = document.createElement("driver");
    disk.insertBefore(driver, disk.firstChild);
  }
  driver.setAttribute("name", "qemu");
  driver.setAttribute("type", "raw");
  for (const name of ["cache", "io", "discard", "detect_zeroes"]) driver.removeAttribute(name);
  if (direct) {
    driver.setAttribute("cache", "none");
    driver.setAttribute("io", "native");
  }
  if (discard) driver.setAttribute("discard", "unmap");
  for (const old of childrenOf(disk, "source")) disk.removeChild(old);
  const place = document.createElement("source");
  place.setAttribute(source.kind === "file" ? "file" : "dev", source.path);
  disk.insertBefore(place, childOf(disk, "target"));
  if (secret === null) return;
  const encryption = document.createElement("encryption");
  encryption.setAttribute("format", "luks");
  const passphrase = document.createElement("secret");
  passphrase.setAttribute("type", "passphrase");
  passphrase.setAttribute("uuid", secret);
  encryption.appendChild(passphrase);
  place.appendChild(encryption);
}

function changeNvram(domain: Element, path: string): void {
  const nvram = childOf(childOf(domain, "os"), "nvram");
  const source = childOf(nvram, "source");
  if (source) source.setAttribute("file", path);
  else if (nvram) nvram.textContent = path;
}

function setText(domain: Element, name: string, text: string): void {
  const element =
    childOf(domain, name) ?? domain.insertBefore(domain.ownerDocument!.createElement(name), domain.firstChild);
  element.textContent = text;
}
