import { expect, it } from "vitest";
import { isNull } from "./dmsetup.ts";

// As `dmsetup table --target crypt` prints it (Linux, Documentation/admin-guide/device-mapper/dm-crypt.rst).
const TABLE = `luks0: 0 41910272 crypt aes-xts-plain64 :64:logon:cryptsetup:0123-d0 0 9:0 32768
luks0: x: 0 2048 crypt cipher_null-ecb - 0 8:1 0
half: 0 2048 crypt cipher_null-ecb - 0 8:1 0
capi: 0 2048 crypt capi:ecb(cipher_null)-null - 0 8:1 0
`;

it("finds the devices that encrypt nothing", () => {
  expect(["luks0", "half", "capi", "none"].map((name) => isNull(TABLE, name))).toEqual([false, true, true, false]);
});
