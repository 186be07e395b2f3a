import type { AuditPolicy } from "./model.ts";

/** The thresholds of this release. */
export const BUILT_IN_POLICY: AuditPolicy = {
  date: "2026-11",
  ciphers: {
    pass: ["aes-xts-plain64"],
    warn: ["serpent-xts-plain64", "twofish-xts-plain64", "camellia-xts-plain64", "aes-cbc-essiv:sha256"],
  },
  // Two keys of AES-256 (BSI TR-02102-1, 2.1: AES with 128, 192 or 256 bits, XTS for storage).
  keyBits: 512,
  // RFC 9106, 4: the second recommended option, 64 MiB.
  argon2MemoryKiB: 64 * 1024,
  // OWASP, "Password Storage Cheat Sheet": PBKDF2-HMAC-SHA512.
  pbkdf2Iterations: 210_000,
  snapshotDays: 14,
  restoreTestMonths: { pass: 12, warn: 24 },
  tlsFloor: "1.2",
};
