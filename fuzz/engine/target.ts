import type { Random } from "./random.ts";
import type { Input, Sparse } from "./sparse.ts";
import type { Bounds, Meter } from "./watched.ts";

/** One parser under test. */
export interface Target {
  readonly name: string;
  /** Real inputs to start from. */
  seeds(): Promise<readonly Input[]> | readonly Input[];
  /** Makes the checksums of a mutated input right, so that the mutation reaches the code behind them. */
  fix?(input: Sparse[], random: Random): void;
  /** Words of the format. */
  readonly tokens?: readonly string[];
  /** Does all that the parser can do with the input. May throw StorageError only. */
  run(input: Input, meter: Meter): Promise<void>;
  readonly bounds?: Bounds;
}
