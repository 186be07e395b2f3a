import { type Command, Option } from "commander";
import { collect, parseCount } from "./options.ts";

/** Options of every verb that makes a LUKS container. */
export interface NewLuksFlags {
  readonly luks1?: boolean;
  readonly cipher?: string;
  readonly keySize?: number;
  readonly hash?: string;
  readonly pbkdf?: "argon2id" | "argon2i" | "pbkdf2";
  readonly iterTime?: number;
  readonly pbkdfForceIterations?: number;
  readonly pbkdfMemory?: number;
  readonly pbkdfParallel?: number;
  readonly sectorSize?: number;
  readonly label?: string;
  readonly uuid?: string;
  readonly policy?: string;
  readonly targetKeyFile?: readonly string[];
  readonly secondKeyFile?: string;
  readonly secondPassphrase?: boolean;
  readonly recoveryKey?: boolean;
  readonly recoveryKeyFile?: string;
}

/** Adds how a container is made; the names are cryptsetup's where it has one. */
export function withNewLuks(command: Command): Command {
  return command
    .option("--luks1", "new container: LUKS1; default: LUKS2, or what the policy says")
    .option("--cipher <cipher>", "new container: default aes-xts-plain64")
    .option("--key-size <bits>", "new container: default 512", parseCount)
    .option("--hash <hash>", "new container: default sha512")
    .addOption(
      new Option("--pbkdf <kdf>", "new container: default argon2id, for LUKS1 pbkdf2").choices([
        "argon2id",
        "argon2i",
        "pbkdf2",
      ]),
    )
    .option("--iter-time <ms>", "new container: how long unlocking takes here, default 2000", parseCount)
    .option("--pbkdf-force-iterations <n>", "new container: iterations, not measured", parseCount)
    .option("--pbkdf-memory <kib>", "new container: Argon2's memory, default 1048576", parseCount)
    .option("--pbkdf-parallel <n>", "new container: Argon2's threads, default 4", parseCount)
    .option(
      "--sector-size <bytes>",
      "new container: default 512; for migrate, what the guest's partition table counts in",
      parseCount,
    )
    .option("--label <label>", "new container: label (LUKS2)")
    .option("--uuid <uuid>", "new container: UUID, default random")
    .option("--policy <file>", "defaults and the least that is allowed (JSON); default: built in")
    .option("--target-key-file <file>", "key of the container that is made, or written into (- is stdin)", collect)
    .option("--second-key-file <file>", "new container: a second key")
    .option("--second-passphrase", "new container: ask for a second passphrase")
    .addOption(
      new Option("--recovery-key", "new container: generate a recovery key and show it once on the terminal").conflicts(
        "recoveryKeyFile",
      ),
    )
    .option("--recovery-key-file <file>", "new container: generate a recovery key into this new file");
}
