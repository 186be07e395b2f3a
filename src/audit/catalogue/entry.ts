import type { Check } from "../model.ts";

/** What identifies a check and ties it to the law and to catalogues: all but how it reads and judges. */
export type CatalogueEntry = Pick<
  Check<unknown>,
  "id" | "title" | "letters" | "sdm" | "itGrundschutz" | "grundschutzPlusPlus"
>;
