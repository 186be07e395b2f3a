import type { Check } from "../model.ts";
import { enc01 } from "./enc-01.ts";
import { inv01 } from "./inv-01.ts";

/** All checks, in the order in which papers name them. */
export const CHECKS: readonly Check<unknown>[] = [inv01, enc01];
