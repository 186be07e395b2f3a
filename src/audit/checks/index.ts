import type { Check } from "../model.ts";
import { bak01 } from "./bak-01.ts";
import { bak02 } from "./bak-02.ts";
import { bak03 } from "./bak-03.ts";
import { bak04 } from "./bak-04.ts";
import { del01 } from "./del-01.ts";
import { del02 } from "./del-02.ts";
import { enc01 } from "./enc-01.ts";
import { inv01 } from "./inv-01.ts";
import { net01 } from "./net-01.ts";
import { net02 } from "./net-02.ts";
import { net03 } from "./net-03.ts";
import { net04 } from "./net-04.ts";
import { perm01 } from "./perm-01.ts";
import { perm02 } from "./perm-02.ts";
import { perm03 } from "./perm-03.ts";
import { perm04 } from "./perm-04.ts";

/** All checks, in the order in which papers name them. */
export const CHECKS: readonly Check<unknown>[] = [
  inv01,
  enc01,
  perm01,
  perm02,
  perm03,
  perm04,
  net01,
  net02,
  net03,
  net04,
  bak01,
  bak02,
  bak03,
  bak04,
  del01,
  del02,
];
