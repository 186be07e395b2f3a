import { guestsInScope, type Material } from "../material.ts";
import type { Paper, PaperId } from "../model.ts";
import { redact } from "../redact.ts";
import { deviationsPaper } from "./deviations.ts";
import { evidencePaper } from "./evidence.ts";
import { recordPaper } from "./record.ts";
import { tomPaper } from "./tom.ts";

const PAPERS: Readonly<Record<PaperId, (material: Material) => Paper>> = {
  tom: tomPaper,
  record: recordPaper,
  evidence: evidencePaper,
  deviations: deviationsPaper,
};

export const PAPER_IDS = Object.keys(PAPERS) as readonly PaperId[];

/** One paper, without what its audience is not to see. */
export function paperOf(id: PaperId, material: Material): Paper {
  return redact(PAPERS[id](material), guestsInScope(material));
}
