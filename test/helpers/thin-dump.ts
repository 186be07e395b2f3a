/** One thin device as thin_dump (thin-provisioning-tools) prints it; mapped blocks in order. */
export interface DumpedDevice {
  readonly id: number;
  readonly snapshotTime: number;
  readonly blocks: readonly { readonly origin: number; readonly data: number; readonly time: number }[];
}

export function parseThinDump(xml: string): DumpedDevice[] {
  return [...xml.matchAll(/<device ([^>]*)>(.*?)<\/device>/gs)].map(([, head, body]) => ({
    id: attribute(head!, "dev_id"),
    snapshotTime: attribute(head!, "snap_time"),
    blocks: [...body!.matchAll(/<(single|range)_mapping ([^>]*)\/>/g)].flatMap(([, kind, text]) => {
      const single = kind === "single";
      const origin = attribute(text!, single ? "origin_block" : "origin_begin");
      const data = attribute(text!, single ? "data_block" : "data_begin");
      const time = attribute(text!, "time");
      const length = single ? 1 : attribute(text!, "length");
      return Array.from({ length }, (_, i) => ({ origin: origin + i, data: data + i, time }));
    }),
  }));
}

function attribute(text: string, name: string): number {
  const match = new RegExp(`\\b${name}="(\\d+)"`).exec(text);
  if (!match) throw new Error(`thin_dump without ${name}: ${text}`);
  return Number(match[1]);
}
