import { DOMParser, type Element, type Node, onErrorStopParsing } from "@xmldom/xmldom";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";

/** A domain with hundreds of disks has less than this many characters. */
const MAX_CHARACTERS = 8 * 1024 * 1024;

/** The root element of a document that must be of this name. Throws `corrupt`. No entity of the document's own is expanded. */
export function parseXml(text: string, root: string): Element {
  const bad = (why: string, cause?: unknown) =>
    new StorageError("corrupt", `libvirt's XML cannot be understood: ${why}`, { layer: "libvirt", cause });
  if (text.length > MAX_CHARACTERS) throw bad(`it has more than ${MAX_CHARACTERS} characters`);
  if (/<!DOCTYPE/i.test(text)) throw bad("it has a document type");
  let element: Element | null;
  try {
    element = new DOMParser({ onError: onErrorStopParsing }).parseFromString(text, "text/xml").documentElement;
  } catch (error) {
    throw bad(printable(error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)), error);
  }
  if (element?.tagName !== root) throw bad(`it begins with <${printable(element?.tagName ?? "")}>, not <${root}>`);
  return element;
}

/** The child elements of this name, in order. */
export function childrenOf(parent: Element, name: string): Element[] {
  const found: Element[] = [];
  for (let node: Node | null = parent.firstChild; node !== null; node = node.nextSibling) {
    if (isElement(node) && node.tagName === name) found.push(node);
  }
  return found;
}

/** The first child element of this name, or null. */
export function childOf(parent: Element | null, name: string): Element | null {
  return parent === null ? null : (childrenOf(parent, name)[0] ?? null);
}

/** The attribute's value; null when it is absent or the element is. */
export function attributeOf(element: Element | null, name: string): string | null {
  return element?.hasAttribute(name) ? element.getAttribute(name) : null;
}

/** The element's text, or null when it is empty or absent. */
export function textOf(element: Element | null): string | null {
  return element?.textContent || null;
}

function isElement(node: Node): node is Element {
  return node.nodeType === 1;
}
