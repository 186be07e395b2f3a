import { crc32 } from "../../src/bytes/crc.ts";
import { StorageError } from "../../src/core/errors.ts";
import type { KeyProvider, OpenContext } from "../../src/core/layer.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import { unlockEmbedded } from "../../src/layers/luks/embedded.ts";
import type { Input } from "../engine/sparse.ts";
import { type Meter, watchedDevice } from "../engine/watched.ts";

/** As the program has them, but with key derivation so cheap that many inputs fit into a second. */
export const FUZZ_LIMITS: Limits = {
  ...DEFAULT_LIMITS,
  pbkdf2Iterations: 2000,
  argon2MemoryKiB: 256,
  argon2Work: 1024,
  argon2Lanes: 4,
};

/** Knows one passphrase, that of the seeds. */
export const ONE_KEY: KeyProvider = {
  async secretsFor({ attempt }) {
    return attempt > 1 ? [] : [{ bytes: new Uint8Array(Buffer.from("secret")), origin: "fuzz" }];
  },
};

const NO_KEY: KeyProvider = { secretsFor: async () => [] };
/** Deriving keys takes most of the time: only one in so many inputs of a target that is about headers gets the passphrase. */
const KEY_EVERY = 8;

/** Images that the input's first part names are its second part. */
export function fuzzContext(input: Input, meter: Meter, writable: boolean): OpenContext {
  const knows = crc32(input[0]!.read(0, 4096)) % KEY_EVERY === 0;
  const unlocking = { keys: knows ? ONE_KEY : NO_KEY, limits: FUZZ_LIMITS };
  return {
    writable,
    ...unlocking,
    unlockHeader: (header) => unlockEmbedded(header, unlocking),
    openDataFile: async () => {
      const other = input[1];
      if (!other) throw new StorageError("gate", "there is no data file");
      return watchedDevice(other, meter, 1, writable);
    },
    openImage: async () => {
      const other = input[1];
      if (!other) throw new StorageError("gate", "there is no other image");
      return watchedDevice(other, meter, 1);
    },
  };
}
