import { testFlips } from "../../../test/helpers/flipped.ts";

testFlips([
  [
    "a late backup",
    {
      commands: {
        "restic snapshots": (t) =>
          t.replaceAll("2026-11-24T02", "2026-11-22T22").replaceAll("2026-11-23T02", "2026-11-22T02"),
      },
    },
    { "BAK-01 mail": ["warn", "late"], "BAK-01 web": ["warn", "late"] },
  ],
  [
    "an old backup",
    { commands: { "restic snapshots": (t) => t.replaceAll("2026-11", "2026-10") } },
    { "BAK-01 mail": ["fail", "old"], "BAK-01 web": ["fail", "old"] },
  ],
  [
    "no restic",
    { commands: { "restic snapshots": null } },
    {
      "BAK-01 mail": ["unknown", "unknown"],
      "BAK-01 web": ["unknown", "unknown"],
      "BAK-02 mail": ["unknown", "unknown"],
      "BAK-02 web": ["unknown", "unknown"],
    },
  ],
  [
    "a key that is nowhere else",
    { scope: (t) => t.replace("keyElsewhere: true", "keyElsewhere: false") },
    { "BAK-02 mail": ["warn", "key-here-only"], "BAK-02 web": ["warn", "key-here-only"] },
  ],
  [
    "a backup of one guest only",
    { scope: (t) => t.replace("    kind: restic", "    guests: [mail]\n    kind: restic") },
    { "BAK-01 web": ["fail", "no-backup"], "BAK-02 web": ["fail", "no-backup"], "BAK-03 web": ["fail", "no-backup"] },
  ],
  [
    "a test of long ago",
    { scope: (t) => t.replace("2026-06-15", "2025-06-15") },
    { "BAK-04 mail": ["warn", "aging"], "BAK-04 web": ["warn", "aging"] },
  ],
  [
    "no test ever",
    { scope: (t) => t.replace(/ {2}- \{ date:.*\n/, "  []\n") },
    { "BAK-04 mail": ["fail", "never"], "BAK-04 web": ["fail", "never"] },
  ],
]);
