import { openForInspection } from "./open-for-reading.ts";

/** What is recognised at the start of a device or file taken as raw: `ext4`, `luks2`, `gpt`; null: nothing. */
export async function contentOfDevice(path: string): Promise<string | null> {
  const keys = { secretsFor: async () => [] };
  await using opened = await openForInspection({ sources: [path], format: "raw", keys });
  const node = opened.stack.tree.roots[0]?.children[0]?.children[0];
  if (!node || node.kind === "unknown") return null;
  return node.kind === "filesystem" ? String(node.details.type) : node.kind;
}
