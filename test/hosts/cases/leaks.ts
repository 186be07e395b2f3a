import { type Case, file, IMAGES, LSBLK, TABLE, XML } from "./edits.ts";

export const LEAKS: readonly Case[] = [
  {
    name: "plain swap",
    edits: [
      {
        file: "/proc/swaps",
        from: "/dev/dm-2                               partition",
        to: "/dev/nvme0n1p2 partition",
      },
    ],
    seen: { "LEAK-01 host": "fail plain" },
  },
  {
    name: "compressed memory",
    edits: [
      { file: "/proc/swaps", from: "/dev/dm-2                               partition", to: "/dev/zram0 partition" },
      {
        command: LSBLK,
        from: '"blockdevices": [',
        to: '"blockdevices": [{"name":"zram0","kname":"zram0","path":"/dev/zram0","maj:min":"253:0","type":"disk","size":4096}, ',
      },
    ],
    seen: { "LEAK-01 host": "pass memory" },
  },
  {
    name: "hibernation to a plain device",
    edits: [{ file: "/proc/cmdline", from: "nohibernate", to: "resume=/dev/nvme0n1p2" }],
    seen: { "LEAK-02 host": "fail plain" },
  },
  {
    name: "hibernation without a device",
    edits: [{ file: "/proc/cmdline", from: "nohibernate", to: "" }],
    seen: { "LEAK-02 host": "warn no-device" },
  },
  {
    name: "guests are saved at shutdown",
    edits: [{ file: "/etc/default/libvirt-guests", from: "ON_SHUTDOWN=shutdown", to: "" }],
    seen: { "LEAK-03 mail": "pass suspend-encrypted", "LEAK-03 web": "pass suspend-encrypted" },
  },
  {
    name: "saved memory",
    edits: [{ paths: { "/var/lib/libvirt/qemu/save": { list: ["mail.save"] } } }],
    seen: {
      "KEY-04 host": "pass encrypted encrypted encrypted encrypted encrypted encrypted encrypted",
      "LEAK-03 mail": "warn saved-encrypted shutdown",
    },
  },
  {
    name: "an old snapshot",
    edits: [
      { command: "virsh --quiet --readonly snapshot-list --domain=a0", to: "before-update\n" },
      {
        command:
          "virsh --quiet --readonly snapshot-dumpxml --domain=a02523b8-fea2-5369-add0-0c2f184f2203 --snapshotname=before-update",
        to: "<domainsnapshot><name>before-update</name><creationTime>1700000000</creationTime></domainsnapshot>",
      },
    ],
    seen: { "LEAK-04 mail": "warn old" },
  },
  {
    name: "a snapshot that lsblk does not show",
    edits: [
      {
        command: "lvs",
        from: '"lv": [',
        to: '"lv": [{"vg_name":"vg1","lv_name":"mail-old","origin":"mail","lv_time":"2026-01-01 10:00:00 +0100"},',
      },
    ],
    seen: { "LEAK-04 mail": "unknown unknown" },
  },
  {
    name: "snapshots that cannot be listed",
    edits: [{ command: "virsh --quiet --readonly snapshot-list --domain=a0", exit: 1 }],
    seen: { "LEAK-04 mail": "unknown not-listed" },
  },
  {
    name: "core dumps with guests' memory",
    edits: [{ file: "/etc/libvirt/qemu.conf", from: "dump_guest_core = 0", to: "" }],
    seen: { "LEAK-05 host": "warn unlimited encrypted" },
  },
  {
    name: "core dumps to a plain file system",
    edits: [
      { file: "/etc/libvirt/qemu.conf", from: "dump_guest_core = 0", to: "" },
      { file: "/proc/sys/kernel/core_pattern", to: "/boot/core.%p\n" },
    ],
    seen: { "LEAK-05 host": "fail plain encrypted" },
  },
  {
    name: "crash dumps to a plain file system",
    edits: [
      { file: "/proc/cmdline", from: "quiet", to: "crashkernel=256M" },
      {
        file: "/proc/self/mountinfo",
        from: "94 27",
        to: "95 27 259:2 / /var/crash rw - ext4 /dev/nvme0n1p2 rw\n94 27",
      },
      { stat: { "/var/crash": { ...file(), type: "folder" } } },
    ],
    seen: { "LEAK-05 host": "fail excluded encrypted plain" },
  },
  {
    name: "an old image that lies encrypted",
    edits: [
      {
        paths: {
          [IMAGES]: { list: ["debian-12.qcow2", "web.qcow2", "old.img"] },
          [`${IMAGES}/old.img`]: { head: "UUZJ+wAAAAM=" },
        },
        stat: { [`${IMAGES}/old.img`]: file() },
      },
    ],
    seen: {},
  },
  {
    name: "a whole disk with a file system that nobody mounts",
    edits: [
      {
        command: LSBLK,
        from: '"blockdevices": [',
        to: '"blockdevices": [{"name":"sdx","kname":"sdx","path":"/dev/sdx","maj:min":"65:112","type":"disk","size":67108864,"rota":true,"fstype":"ext4"}, ',
      },
    ],
    seen: { "LEAK-06 host": "fail device-candidate" },
  },
  {
    name: "a blank disk, and one whose Btrfs is mounted under a number of its own",
    edits: [
      {
        command: LSBLK,
        from: '"blockdevices": [',
        to: '"blockdevices": [{"name":"sdx","kname":"sdx","path":"/dev/sdx","maj:min":"65:112","type":"disk","size":67108864,"rota":true,"fstype":null}, {"name":"sdy","kname":"sdy","path":"/dev/sdy","maj:min":"65:128","type":"disk","size":67108864,"rota":true,"fstype":"btrfs","uuid":"0e0e2d2a-7f3c-4c58-9c7e-3f0b7f6f0c11"}, {"name":"sdz","kname":"sdz","path":"/dev/sdz","maj:min":"65:144","type":"disk","size":67108864,"rota":true,"fstype":"btrfs","uuid":"0e0e2d2a-7f3c-4c58-9c7e-3f0b7f6f0c11"}, ',
      },
      {
        file: "/proc/self/mountinfo",
        from: /$/,
        to: "900 1 0:41 / /srv/data rw,relatime shared:9 - btrfs /dev/sdy rw\n",
      },
    ],
    seen: {},
  },
  {
    name: "a plain partition that nobody uses",
    edits: [
      { command: LSBLK, from: '"kname": "nvme0n1p1"', to: '"kname": "nvme0n1p9"' },
      { command: LSBLK, from: '"maj:min": "259:1"', to: '"maj:min": "259:9"' },
      { command: LSBLK, from: '"path": "/dev/nvme0n1p1"', to: '"path": "/dev/nvme0n1p9"' },
    ],
    seen: { "LEAK-06 host": "fail device-candidate" },
  },
  {
    name: "a shared folder on a plain file system",
    edits: [
      {
        command: XML,
        from: "    <controller type='usb'",
        to: "    <filesystem type='mount'><source dir='/boot/share'/><target dir='x'/></filesystem>\n    <controller type='usb'",
      },
      { stat: { "/boot/share": { ...file(), type: "folder", mode: 0o700 } } },
    ],
    seen: { "LEAK-07 mail": "fail plain" },
  },
  {
    name: "a shared folder that others can read",
    edits: [
      {
        command: XML,
        from: "    <controller type='usb'",
        to: "    <filesystem type='mount'><source dir='/srv/share'/><target dir='x'/></filesystem>\n    <controller type='usb'",
      },
      { stat: { "/srv/share": { ...file(), type: "folder", mode: 0o755 } } },
    ],
    seen: { "LEAK-07 mail": "warn open" },
  },
  {
    name: "TRIM other than declared",
    edits: [{ command: TABLE, from: "0 9:0 32768", to: "0 9:0 32768 1 allow_discards" }],
    seen: {
      "DISC-01 mail": "warn not-as-declared blocked medium medium medium",
      "DISC-01 web": "warn not-as-declared blocked medium medium medium",
    },
  },
  {
    name: "TRIM that the encryption stops",
    edits: [{ command: XML, from: "discard='ignore'", to: "discard='unmap'" }],
    seen: { "DISC-01 mail": "warn blocked blocked half-way medium medium medium" },
  },
];
