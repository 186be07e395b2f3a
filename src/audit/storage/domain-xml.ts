import type { Element } from "@xmldom/xmldom";
import { parseXml } from "../../libvirt/xml.ts";
import type { HostReader } from "../model.ts";
import { dumpxml } from "./domains.ts";

/** A guest's definitions: the one that it runs with, and the one that it will be started with; those that are not understood are left out. */
export async function definitions(host: HostReader, uuid: string): Promise<Element[]> {
  const results = await Promise.all([false, true].map((inactive) => host.run(dumpxml(uuid, inactive))));
  return results.flatMap((result) => {
    if (result.kind !== "ran" || result.exit !== 0) return [];
    try {
      return [parseXml(result.stdout, "domain")];
    } catch {
      return [];
    }
  });
}
