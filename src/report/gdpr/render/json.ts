import type { Material } from "../material.ts";
import type { Paper } from "../model.ts";
import { recordData } from "../record-data.ts";

/** A paper as data (docs/schemas/report.json): the same redacted blocks that all other forms are made of. */
export function json(paper: Paper, material: Material): string {
  const record = paper.id === "record" ? { record: recordData(material) } : {};
  const document = { schema: "unterbau/report/1", manifestSha256: material.manifestSha256, ...record, paper };
  return `${JSON.stringify(document, null, 2)}\n`;
}
