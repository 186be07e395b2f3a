import { testFlips } from "../../../test/helpers/flipped.ts";

const WEB = "bd0276b4-69f2-5c0a-930b-82b30f9bbddb";
const MAIL_UUID = "a02523b8-fea2-5369-add0-0c2f184f2203";
const IMAGE = "/var/lib/libvirt/images/web.qcow2";
const dumpxml = (uuid: string) => `dumpxml --domain=${uuid}`;
const before = (mark: string, text: string) => (xml: string) => xml.replace(mark, `${text}${mark}`);

testFlips([
  [
    "an image that everybody may read",
    { stat: { [IMAGE]: { mode: 0o644 } } },
    { "PERM-01 web": ["fail", "others-read"] },
  ],
  [
    "the same in a folder that is closed",
    { stat: { [IMAGE]: { mode: 0o644 }, "/var/lib/libvirt/images": { mode: 0o700 } } },
    { "PERM-01 web": ["warn", "folder-only"] },
  ],
  ["an image of a person's", { stat: { [IMAGE]: { uid: 1000 } } }, { "PERM-01 web": ["fail", "person"] }],
  [
    "an ACL entry",
    { commands: { "getfacl --omit-header --absolute-names -- /dev/dm-4": (t) => `${t}user:anna:r--\nmask::rw-\n` } },
    { "PERM-01 mail": ["fail", "acl"] },
  ],
  [
    "a member of the group of disks",
    {
      files: {
        "/etc/group": "root:x:0:\ndisk:x:6:\nkvm:x:108:bert\nlibvirt:x:110:anna\n",
        "/etc/passwd":
          "root:x:0:0::/:/bin/sh\nlibvirt-qemu:x:64055:108::/:/bin/false\nanna:x:1000:1000::/:/bin/sh\nbert:x:1001:1001::/:/bin/sh\n",
      },
    },
    { "PERM-01 mail": ["warn", "group"], "PERM-02": ["warn", "additional"] },
  ],
  [
    "libvirt on TCP",
    { files: { "/etc/libvirt/libvirtd.conf": "listen_tcp = 1\n" } },
    { "PERM-02": ["fail", "listen-tcp"] },
  ],
  [
    "a console on the network",
    { commands: { "ss -Htlnp": (t) => t.replace("127.0.0.1:5900", "0.0.0.0:5900") } },
    { "PERM-02": ["fail", "console"] },
  ],
  [
    "a socket for all, without authentication",
    {
      files: { "/etc/libvirt/libvirtd.conf": 'auth_unix_rw = "none"\nunix_sock_rw_perms = "0777"\n' },
      stat: { "/run/libvirt/libvirt-sock": { mode: 0o777 } },
    },
    { "PERM-02": ["fail", "open-socket"] },
  ],
  [
    "SSH with passwords",
    { commands: { "sshd -T": (t) => t.replace("passwordauthentication no", "passwordauthentication yes") } },
    { "PERM-02": ["warn", "ssh-passwords"] },
  ],
  [
    "an admin that is not declared",
    { scope: (t) => t.replace("[anna]", "[bert]") },
    { "PERM-02": ["warn", "additional"] },
  ],
  ["no ss", { commands: { "ss -Htlnp": null } }, { "PERM-02": ["unknown", "program-missing"] }],
  [
    "a profile that only complains",
    { files: { "/proc/1843/attr/current": "libvirt-x (complain)\n" } },
    { "PERM-03 mail": ["warn", "permissive"] },
  ],
  ["no profile", { files: { "/proc/1843/attr/current": "unconfined\n" } }, { "PERM-03 mail": ["fail", "none"] }],
  ["QEMU as root", { files: { "/proc/1843/status": "Uid:\t0\t0\t0\t0\n" } }, { "PERM-03 mail": ["fail", "root"] }],
  [
    "no security module",
    {
      commands: {
        capabilities: (t) => t.replace("<model>apparmor</model>\n      <doi>", "<model>none</model>\n      <doi>"),
      },
    },
    { "PERM-03 web": ["fail", "none"] },
  ],
  [
    "confinement switched off",
    { commands: { [dumpxml(WEB)]: before("</domain>", "<seclabel type='none'/>") } },
    { "PERM-03 web": ["fail", "switched-off"] },
  ],
  [
    "a disk of another guest, both in scope",
    {
      commands: {
        [dumpxml(WEB)]: before(
          "<controller",
          "<disk type='block' device='disk'><source dev='/dev/vg1/mail'/><target dev='vdb' bus='virtio'/><shareable/></disk>",
        ),
      },
    },
    { "PERM-04 mail": ["warn", "within-scope"], "PERM-04 web": ["warn", "within-scope"] },
  ],
  [
    "the base image of another guest, as a disk to write to",
    {
      commands: {
        [dumpxml(MAIL_UUID)]: before(
          "<controller",
          "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/var/lib/libvirt/images/debian-12.qcow2'/><target dev='vdb' bus='virtio'/></disk>",
        ),
      },
    },
    { "PERM-04 mail": ["warn", "within-scope"], "PERM-04 web": ["warn", "within-scope"] },
  ],
  [
    "a clipboard",
    {
      commands: {
        [dumpxml(WEB)]: before(
          "<controller",
          "<graphics type='spice'/><channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>",
        ),
      },
    },
    { "PERM-04 web": ["warn", "clipboard"] },
  ],
]);
