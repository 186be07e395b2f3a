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
  updateDays: { pass: 14, warn: 45 },
  // Debian: wiki.debian.org/LTS; Ubuntu: standard support, ubuntu.com/about/release-cycle; the month's first day where only a month is named.
  // RHEL: end of maintenance support, access.redhat.com/support/policy/updates/errata; Leap: en.opensuse.org/Lifetime. Fedora, Alma and Rocky say it
  // themselves (SUPPORT_END in os-release).
  releaseEnds: {
    "debian 10": "2024-06-30",
    "debian 11": "2026-08-31",
    "debian 12": "2028-06-30",
    "debian 13": "2030-06-30",
    "opensuse-leap 15.6": "2026-04-30",
    "rhel 8": "2029-05-31",
    "rhel 9": "2032-05-31",
    "rhel 10": "2035-05-31",
    "ubuntu 20.04": "2025-05-31",
    "ubuntu 22.04": "2027-04-01",
    "ubuntu 24.04": "2029-04-01",
  },
  auditEveryDays: 92,
};
