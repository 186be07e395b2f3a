import { DOMParser, type Element, XMLSerializer } from "@xmldom/xmldom";
import { childOf, parseXml } from "./xml.ts";

/** The namespace of our element in a domain's `<metadata>` (libvirt, "Domain XML format", "General metadata": one element a namespace). */
export const GUARD_NAMESPACE = "urn:unterbau:migration:1";
/** The prefix of our element, and what `virsh metadata --key` wants. */
export const GUARD_PREFIX = "unterbau";

const ROLES = ["old", "clone"] as const;
const STATES = ["copying", "ready", "checked", "retired"] as const;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const RUN = /^[\w-]{1,64}$/;

/**
 * What is written into both domains of a migration, so that only one of them is ever started. Two guests on copies of one disk would go
 * apart, and mail that came to one would be missed in the other.
 */
export interface Guard {
  readonly role: (typeof ROLES)[number];
  /** UUID of the other domain. */
  readonly partner: string;
  /** The migration's id. */
  readonly run: string;
  /** copying: the clone is not whole; ready: it may be started, the old one not; checked: it has been started and its file systems are whole; retired: the old one's disk is being destroyed, or is. */
  readonly state: (typeof STATES)[number];
}

/** A guard that is there but cannot be understood: nothing may be started on its account. */
export const UNREADABLE = "unreadable";

/** The guard in a domain's XML (`<domain>` is the root); null when there is none. */
export function readGuard(domain: Element): Guard | typeof UNREADABLE | null {
  const element = guardIn(childOf(domain, "metadata"));
  if (element === null) return null;
  const value = (name: string) => element.getAttribute(name) ?? "";
  const role = ROLES.find((r) => r === value("role"));
  const state = STATES.find((s) => s === value("state"));
  const [partner, run] = [value("partner"), value("run")];
  if (!role || !state || !UUID.test(partner) || !RUN.test(run)) return UNREADABLE;
  return { role, partner, run, state };
}

/** The same XML with this guard in place of any other; null takes it out. Everything else is kept, comments too. */
export function withGuard(xml: string, guard: Guard | null): string {
  const domain = parseXml(xml, "domain");
  const document = domain.ownerDocument!;
  let metadata = childOf(domain, "metadata");
  const before = guardIn(metadata);
  if (before) metadata!.removeChild(before);
  if (guard) {
    if (!metadata) {
      metadata = document.createElement("metadata");
      const uuid = childOf(domain, "uuid") ?? childOf(domain, "name");
      domain.insertBefore(metadata, uuid?.nextSibling ?? null);
    }
    const element = new DOMParser().parseFromString(guardXml(guard), "text/xml").documentElement!;
    metadata.appendChild(document.importNode(element, true));
  } else if (before && childElements(metadata!) === 0) domain.removeChild(metadata!);
  return new XMLSerializer().serializeToString(document);
}

/** The element by itself. */
function guardXml(guard: Guard): string {
  return `<${GUARD_PREFIX}:migration xmlns:${GUARD_PREFIX}="${GUARD_NAMESPACE}" ${attributes(guard)}/>`;
}

/** What `virsh metadata --set` wants: it adds the namespace itself. */
export function guardForVirsh(guard: Guard): string {
  return `<migration ${attributes(guard)}/>`;
}

function attributes({ role, partner, run, state }: Guard): string {
  return Object.entries({ role, partner, run, state })
    .map(([name, value]) => `${name}="${value}"`)
    .join(" ");
}

function guardIn(metadata: Element | null): Element | null {
  if (metadata === null) return null;
  for (let node = metadata.firstChild; node !== null; node = node.nextSibling) {
    const element = node as Element;
    if (node.nodeType === 1 && element.namespaceURI === GUARD_NAMESPACE && element.localName === "migration")
      return element;
  }
  return null;
}

function childElements(parent: Element): number {
  let count = 0;
  for (let node = parent.firstChild; node !== null; node = node.nextSibling) if (node.nodeType === 1) count++;
  return count;
}

/** Why a guest with this guard must not be started now, as far as its XML tells, or null. Whether the partner runs is for libvirt to say. */
export function startProblem(guard: Guard | typeof UNREADABLE | null): { what: string; hint: string } | null {
  if (guard === null) return null;
  if (guard === UNREADABLE)
    return {
      what: "its mark of a migration cannot be understood",
      hint: `look at <metadata> in its XML (virsh edit), namespace ${GUARD_NAMESPACE}`,
    };
  if (guard.state === "copying")
    return guard.role === "old"
      ? {
          what: "it is just being migrated",
          hint: `unterbau migrate --resume ${guard.run}, or --rollback ${guard.run}`,
        }
      : {
          what: "it is the unfinished copy of another guest",
          hint: `unterbau migrate --resume ${guard.run}, or --rollback ${guard.run}`,
        };
  if (guard.role === "clone") return null;
  if (guard.state === "retired")
    return {
      what: `its disk was destroyed after its storage was migrated (unterbau retire --show ${guard.run})`,
      hint: `the guest ${guard.partner} took its place: start that one`,
    };
  return {
    what: `its storage was migrated: the guest ${guard.partner} took its place`,
    hint: `start that one; to go back to this one: unterbau migrate --rollback ${guard.run}`,
  };
}
