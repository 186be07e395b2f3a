import { createHash } from "node:crypto";

/** Of all names that we give in OSCAL; chosen once at random (RFC 9562, 5.4). */
const NAMESPACE = Buffer.from("6f2b9d0e5c1a4e77a3d84b1f0c92e6a5", "hex");

/** RFC 9562, 5.5: the same name gives the same UUID. */
export function uuid5(name: string): string {
  const hash = createHash("sha1").update(NAMESPACE).update(name).digest();
  hash[6] = (hash[6]! % 16) + 0x50;
  hash[8] = (hash[8]! % 64) + 0x80;
  const hex = hash.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-");
}
