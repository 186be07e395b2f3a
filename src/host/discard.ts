import { readFileSync, realpathSync } from "node:fs";
import { dirname } from "node:path";

/** What the kernel says of a block device and TRIM (Documentation/ABI/stable/sysfs-block). */
export interface DiscardFacts {
  /** Bytes that one request may discard; 0: it discards nothing. */
  readonly max: number;
  /** Its medium turns: there is nothing to gain. */
  readonly rotational: boolean;
}

/** By the kernel's name (`dm-3`, `sda1`); null when sysfs has no such device. */
export function discardFacts(name: string, sys = "/sys"): DiscardFacts | null {
  try {
    const folder = realpathSync(`${sys}/class/block/${name.replaceAll("/", "!")}`);
    const read = (file: string) => {
      try {
        return readFileSync(`${folder}/queue/${file}`, "utf8");
      } catch {
        // A partition has no queue of its own.
        return readFileSync(`${dirname(folder)}/queue/${file}`, "utf8");
      }
    };
    return { max: Number(read("discard_max_bytes")), rotational: read("rotational").trim() === "1" };
  } catch {
    return null;
  }
}
