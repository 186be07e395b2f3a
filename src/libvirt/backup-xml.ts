/** A disk that a backup shows. */
export interface BackupDisk {
  /** `vda` */
  readonly target: string;
  /** Where the bytes go that the guest overwrites meanwhile. */
  readonly scratch: string;
}

/** What `virsh backup-begin` wants for a pull backup on a unix socket (libvirt, "Backup XML format"). Each disk is an export of its target's name. */
export function backupXml(socket: string, disks: readonly BackupDisk[]): string {
  const rows = disks.map(
    ({ target, scratch }) =>
      `    <disk name='${escaped(target)}' backup='yes' type='file' exportname='${escaped(target)}'><scratch file='${escaped(scratch)}'/></disk>\n`,
  );
  return `<domainbackup mode='pull'>
  <server transport='unix' socket='${escaped(socket)}'/>
  <disks>
${rows.join("")}  </disks>
</domainbackup>
`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&apos;",
  '"': "&quot;",
};

function escaped(text: string): string {
  return text.replace(/[&<>'"]/g, (c) => ENTITIES[c]!);
}
