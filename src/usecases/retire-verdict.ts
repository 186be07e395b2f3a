import type { Medium } from "../host/medium.ts";
import type { DeletionVerdict, RetiredTarget } from "../host/retirement-store.ts";

export interface Destroyed {
  readonly kind: "file" | "blockdev";
  readonly method: RetiredTarget["method"];
  readonly medium: Medium;
  readonly discard: RetiredTarget["discard"];
  readonly verified: boolean;
  /** Blocks were given back to the file system while the guest lived. */
  readonly gaveBack: boolean;
}

/**
 * What the destruction of one file or device comes to, and what may be left of it: the deletion decision table for old plaintext
 * (BSI IT-Grundschutz CON.6.A12 and SDM M60 name the methods; NIST SP 800-88r1, appendix A, what they leave).
 */
export function verdictOf(d: Destroyed): { readonly verdict: DeletionVerdict; readonly residual: readonly string[] } {
  if (!d.verified)
    return { verdict: "fail", residual: ["that it was overwritten is not shown: the old content may still be there"] };
  const residual: string[] = d.medium.doubts.map((doubt) => `not proven: ${doubt}`);
  if (d.gaveBack)
    residual.push(
      "not proven: blocks that the guest discarded lie in the file system's free space as they were; fstrim has an SSD forget them",
    );
  let proven = residual.length === 0;
  const erased = d.method === "luks-erase";
  switch (d.medium.type) {
    case "hdd":
      if (!erased) residual.push("sectors that the disk had replaced before keep what they held");
      break;
    case "ssd":
      residual.push(
        erased
          ? "old keyslots may be left in the SSD's spare area: sanitize or destroy it when it leaves"
          : "wear levelling: old cells in the SSD's spare area may keep plaintext until it is sanitized or destroyed, at the latest when it is retired",
      );
      proven &&= erased;
      break;
    case "unknown":
      residual.push(
        "what kind of disk it lies on is not known, so it was treated as an SSD: old cells may keep plaintext",
      );
      proven = false;
      break;
  }
  if (d.discard === "unsupported")
    residual.push(
      d.kind === "file"
        ? "the file system took no holes, so its blocks are given back only when the file is removed"
        : "the device took no discard",
    );
  if (d.discard === "holes" && d.medium.type !== "hdd")
    residual.push("its blocks are free space now: fstrim on that file system passes that on to the SSD");
  return { verdict: proven ? "pass" : "warn", residual };
}

const ORDER: readonly DeletionVerdict[] = ["fail", "warn", "pass"];

export function worstOf(verdicts: readonly DeletionVerdict[]): DeletionVerdict {
  return ORDER.find((v) => verdicts.includes(v)) ?? "fail";
}
