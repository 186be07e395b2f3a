import type { Check } from "../model.ts";
import { bak01 } from "./bak-01.ts";
import { bak02 } from "./bak-02.ts";
import { bak03 } from "./bak-03.ts";
import { bak04 } from "./bak-04.ts";
import { del01 } from "./del-01.ts";
import { del02 } from "./del-02.ts";
import { disc01 } from "./disc-01.ts";
import { enc01 } from "./enc-01.ts";
import { enc02 } from "./enc-02.ts";
import { enc03 } from "./enc-03.ts";
import { enc04 } from "./enc-04.ts";
import { enc05 } from "./enc-05.ts";
import { enc06 } from "./enc-06.ts";
import { enc07 } from "./enc-07.ts";
import { gov01 } from "./gov-01.ts";
import { gov02 } from "./gov-02.ts";
import { inv01 } from "./inv-01.ts";
import { inv02 } from "./inv-02.ts";
import { key01 } from "./key-01.ts";
import { key02 } from "./key-02.ts";
import { key03 } from "./key-03.ts";
import { key04 } from "./key-04.ts";
import { leak01 } from "./leak-01.ts";
import { leak02 } from "./leak-02.ts";
import { leak03 } from "./leak-03.ts";
import { leak04 } from "./leak-04.ts";
import { leak05 } from "./leak-05.ts";
import { leak06 } from "./leak-06.ts";
import { leak07 } from "./leak-07.ts";
import { mail01 } from "./mail-01.ts";
import { mail02 } from "./mail-02.ts";
import { mail03 } from "./mail-03.ts";
import { net01 } from "./net-01.ts";
import { net02 } from "./net-02.ts";
import { net03 } from "./net-03.ts";
import { net04 } from "./net-04.ts";
import { perm01 } from "./perm-01.ts";
import { perm02 } from "./perm-02.ts";
import { perm03 } from "./perm-03.ts";
import { perm04 } from "./perm-04.ts";

const INVENTORY = [inv01, inv02];
const ENCRYPTION = [enc01, enc02, enc03, enc04, enc05, enc06, enc07];
const KEYS = [key01, key02, key03, key04];
const LEAKS = [leak01, leak02, leak03, leak04, leak05, leak06, leak07, disc01];
const ACCESS = [perm01, perm02, perm03, perm04, net01, net02, net03, net04];
const BACKUPS = [bak01, bak02, bak03, bak04];
const MAIL = [mail01, mail02, mail03];
const DELETION = [del01, del02];
const GOVERNANCE = [gov01, gov02];

/** All checks, in the order in which papers name them. */
export const CHECKS: readonly Check<unknown>[] = [
  ...INVENTORY,
  ...ENCRYPTION,
  ...KEYS,
  ...LEAKS,
  ...ACCESS,
  ...BACKUPS,
  ...MAIL,
  ...DELETION,
  ...GOVERNANCE,
];
