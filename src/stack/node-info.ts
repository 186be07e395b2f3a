import type { Json } from "../core/finding.ts";
import type { NodeInfo } from "../core/layer.ts";
import type { FilesystemInfo } from "../filesystems/registry.ts";

/** What the tree shows of a recognised leaf. */
export function leafInfo(found: FilesystemInfo): NodeInfo {
  const { type, uuid, label, size, state, details, findings } = found;
  const kind = found.kind === "swap" ? "swap" : "filesystem";
  return { kind, details: { type, uuid, label, filesystemSize: size, state, ...details }, findings };
}

/** The same with one more detail. */
export function withDetail(info: NodeInfo, key: string, value: Json): NodeInfo {
  return { ...info, details: { ...info.details, [key]: value } };
}
