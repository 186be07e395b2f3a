import { testFlips } from "../../../test/helpers/flipped.ts";

const RECORD = "/var/lib/unterbau/retirements/20261101-080000-aaaa.json";
const record = (target: object, more: object = {}) =>
  JSON.stringify({
    schema: "unterbau/retire/1",
    run: "20261101-080000-aaaa",
    state: "done",
    ended: "2026-11-01T09:00:00Z",
    targets: [
      {
        role: "disk",
        path: "/dev/vg9/old",
        wasPlaintext: true,
        medium: { type: "hdd" },
        method: "random-overwrite",
        verified: { at: "2026-11-01T09:00:00Z", samples: 128, sha256: "0" },
        removed: true,
        verdict: "pass",
        ...target,
      },
    ],
    ...more,
  });
const folder = { type: "folder", mode: 0o755, uid: 0, gid: 0, size: 0, modified: "2026-11-01T00:00:00Z" } as const;

testFlips([
  [
    "a disk destroyed by record",
    { files: { [RECORD]: record({}) } },
    { "DEL-01": ["pass", ""], "DEL-02": ["pass", ""] },
  ],
  [
    "the same on an SSD",
    { files: { [RECORD]: record({ medium: { type: "ssd" }, verdict: "warn" }) } },
    { "DEL-01": ["warn", "spare-area"], "DEL-02": ["pass", ""] },
  ],
  [
    "keys erased where there was plaintext",
    { files: { [RECORD]: record({ method: "luks-erase" }) } },
    { "DEL-01": ["fail", "not-deleted"], "DEL-02": ["pass", ""] },
  ],
  [
    "a destruction that did not end",
    { files: { [RECORD]: record({ verdict: null }, { state: "begun", ended: null }) } },
    { "DEL-01": ["fail", "not-ended"], "DEL-02": ["pass", ""] },
  ],
  [
    "a file system that is still there",
    {
      files: { [RECORD]: record({ removed: false }) },
      stat: { "/dev/vg9/old": { ...folder, type: "block", mode: 0o660 } },
      added: [
        {
          argv: ["blkid", "--probe", "--output", "export", "/dev/vg9/old"],
          stdout: "DEVNAME=/dev/vg9/old\nTYPE=ext4\n",
        },
      ],
    },
    { "DEL-01": ["pass", ""], "DEL-02": ["fail", "remains"] },
  ],
  [
    "a migration whose old disk nobody tells of",
    {
      files: {
        "/var/lib/unterbau/migrations/20261101-080000-bbbb.migration": `${JSON.stringify({ schema: "unterbau/migration/2", plan: { id: "20261101-080000-bbbb", guest: { name: "web" } } })}\n${JSON.stringify({ step: "finish", state: "done", facts: {} })}\n`,
      },
    },
    { "DEL-01": ["fail", "unrecorded"] },
  ],
  [
    "a declared volume that was only discarded",
    {
      scope: (t) =>
        `${t}deletions:\n  - { name: /dev/vg9/x, date: 2026-10-01, medium: ssd, wasPlaintext: true, method: discard }\n`,
    },
    { "DEL-01": ["fail", "not-deleted"], "DEL-02": ["pass", ""] },
  ],
]);
