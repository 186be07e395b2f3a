import type { Lang, Value } from "../../audit/model.ts";

/** Who reads it decides what is left out: `redact`. */
export type Audience = "client" | "authority" | "internal";

export type PaperId = "tom" | "record" | "evidence" | "deviations";

/** A piece of a sentence. `kind`: it is a value, which an audience may not see. */
export interface Run {
  readonly text: string;
  readonly kind?: Value["kind"];
  readonly strong?: true;
  readonly mono?: true;
}

/** Where a sentence comes from: [G], [E], [O] in German, [M], [D], [O] in English. */
export type Origin =
  | { readonly mark: "measured"; readonly checks: readonly string[] /** RFC 3339, UTC */; readonly at: string }
  | { readonly mark: "declared"; readonly question: string; readonly by: string; readonly date: string }
  | { readonly mark: "open" /** Check or question. */; readonly about: string };

/** `origin` null: it claims nothing of this host or office (a heading's explanation, a law, a limit). */
export interface Sentence {
  readonly runs: readonly Run[];
  readonly origin: Origin | null;
}

export type Cell = readonly Sentence[];

/** A layer in a drawing. */
export interface Box {
  readonly title: readonly Run[];
  /** Facts, one run each. */
  readonly detail: readonly Run[];
  readonly encrypts: boolean;
  readonly below: readonly Box[];
}

export interface Drawing {
  readonly guest: readonly Run[];
  readonly disks: readonly {
    readonly title: readonly Run[];
    readonly encrypted: "yes" | "no" | "unknown";
    /** What it lies on; null: not known. */
    readonly box: Box | null;
  }[];
}

export type Block =
  | { readonly kind: "heading"; readonly level: 1 | 2; readonly runs: readonly Run[] }
  | { readonly kind: "paragraph"; readonly sentences: readonly Sentence[] }
  | { readonly kind: "list"; readonly items: readonly Cell[] }
  | {
      readonly kind: "table";
      /** `width`: share of the line, in percent. */
      readonly columns: readonly { readonly title: string; readonly width: number }[];
      readonly rows: readonly (readonly Cell[])[];
    }
  | { readonly kind: "note"; readonly title: string; readonly sentences: readonly Sentence[] }
  | { readonly kind: "figure"; readonly caption: string; readonly drawing: Drawing }
  | { readonly kind: "signature"; readonly places: readonly { readonly role: string; readonly name: string | null }[] };

export interface Paper {
  readonly id: PaperId;
  readonly lang: Lang;
  readonly audience: Audience;
  readonly title: string;
  readonly subtitle: string;
  /** The run's end, RFC 3339: nothing in a paper is younger. */
  readonly date: string;
  readonly run: string;
  readonly blocks: readonly Block[];
}
