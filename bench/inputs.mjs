// Inputs of the benchmark, made once by the ordinary tools into bench/work. Needs root (loop devices).
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";

export const WORK = "bench/work";
const FILES = 100_000;
const PER_FOLDER = 1000;

/** A 16 GiB guest: MBR, swap, LVM lvg1/lvroot (8 GiB ext4 with 100,000 files), as qcow2 and as the raw file system alone. */
export function guest() {
  mkdirSync(WORK, { recursive: true });
  const out = { qcow2: `${WORK}/guest.qcow2`, raw: `${WORK}/lvroot.raw`, offset: 0 };
  const files = `${WORK}/files`;
  if (!existsSync(out.qcow2)) {
    process.stderr.write(`making ${out.qcow2}: ${FILES} files ...\n`);
    for (let d = 0; d < FILES / PER_FOLDER; d++) {
      mkdirSync(`${files}/d${d}`, { recursive: true });
      for (let f = 0; f < PER_FOLDER; f++)
        writeFileSync(`${files}/d${d}/f${f}`, f % 10 === 0 ? "x".repeat(9000) : "mail");
    }
    const raw = `${WORK}/guest.raw`;
    const env = { ...process.env, SIZE: "16G", SWAP: "2G", LV: "8G", FILES: files, KERNEL: "1" };
    execFileSync("sh", ["test/disks/make-guest.sh", "mbr-lvm", raw], { env, stdio: "inherit" });
    execFileSync("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", raw, `${out.qcow2}.part`]);
    renameSync(`${out.qcow2}.part`, out.qcow2);
    rmSync(raw);
    rmSync(files, { recursive: true });
  }
  if (!existsSync(out.raw)) {
    // The plain file system, for e2fsck alone: read back through qemu-img, not through us.
    const { offset, size } = lvPlace(out.qcow2);
    const image = `driver=raw,offset=${offset},size=${size},file.driver=qcow2,file.file.filename=${out.qcow2}`;
    execFileSync("qemu-img", ["convert", "--image-opts", image, "-O", "raw", out.raw]);
  }
  out.offset = lvPlace(out.qcow2).offset;
  return out;
}

/** Where lvroot begins on the virtual disk: partition start, plus LVM2's first extent (the whole LV is one run). */
function lvPlace(qcow2) {
  const head = `${WORK}/head.raw`;
  execFileSync("qemu-img", ["dd", "-f", "qcow2", "-O", "raw", `if=${qcow2}`, `of=${head}`, "bs=1M", "count=4"], {
    stdio: "ignore",
  });
  const table = JSON.parse(
    execFileSync("sfdisk", ["--json", head], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
  );
  rmSync(head);
  const start = table.partitiontable.partitions[1].start * 512;
  // pvcreate's default alignment: the first extent lies 1 MiB into the volume (lvm.conf, default_data_alignment).
  return { offset: start + 1024 * 1024, size: 8 * 1024 ** 3 };
}
