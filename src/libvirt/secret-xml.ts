import { DOMImplementation, type Element, XMLSerializer } from "@xmldom/xmldom";
import { attributeOf, childOf, parseXml, textOf } from "./xml.ts";

/** A secret of libvirt's (libvirt, "Secret XML format") for a LUKS container; its value is never here. */
export interface DomainSecret {
  /** Kept in memory only, and gone when libvirt's daemon ends. */
  readonly ephemeral: boolean;
  /** libvirt tells its value to nobody but QEMU. */
  readonly private: boolean;
  /** We made it, and gave it its value. */
  readonly given: boolean;
  /** We made it. */
  readonly ours: boolean;
}

/** libvirt does not tell whether a private secret has a value, so its description does: a value outlives a new description. */
const EMPTY = "LUKS, made by unterbau; without its passphrase yet";
const GIVEN = "LUKS, made by unterbau";

/** An ephemeral, private secret for the container at a path. `given`: it has its value by now. */
export function secretXml(uuid: string, path: string, given: boolean): string {
  const document = new DOMImplementation().createDocument(null, "secret");
  const root = document.documentElement!;
  const add = (to: Element, name: string, text: string) => {
    const element = document.createElement(name);
    element.appendChild(document.createTextNode(text));
    return to.appendChild(element);
  };
  root.setAttribute("ephemeral", "yes");
  root.setAttribute("private", "yes");
  add(root, "uuid", uuid);
  add(root, "description", given ? GIVEN : EMPTY);
  const usage = document.createElement("usage");
  usage.setAttribute("type", "volume");
  root.appendChild(usage);
  add(usage, "volume", path);
  return new XMLSerializer().serializeToString(document);
}

/** Reads what `virsh secret-dumpxml` prints. Throws `corrupt` when it is no secret. */
export function parseSecret(xml: string): DomainSecret {
  const root = parseXml(xml, "secret");
  const description = textOf(childOf(root, "description"));
  return {
    ephemeral: attributeOf(root, "ephemeral") === "yes",
    private: attributeOf(root, "private") === "yes",
    given: description === GIVEN,
    ours: description === GIVEN || description === EMPTY,
  };
}
