// Inputs of the benchmark, made once by the ordinary tools into bench/work. Needs root (loop devices).
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";

export const WORK = "bench/work";
const PER_FOLDER = 1000;
const run = (program, ...args) => execFileSync(program, args, { stdio: ["ignore", "ignore", "inherit"] });

/** `make(part)` unless `path` is there; a half-made input never has its name. */
function input(path, make) {
  if (existsSync(path)) return path;
  mkdirSync(WORK, { recursive: true });
  process.stderr.write(`making ${path} ...\n`);
  rmSync(`${path}.part`, { force: true });
  make(`${path}.part`);
  renameSync(`${path}.part`, path);
  return path;
}

/**
 * A guest: MBR, swap, LVM lvg1/lvroot (ext4), as qcow2, and the raw file system alone.
 * @param size of the disk and of lvroot, in GiB; `files` in lvroot
 */
export function guest(name, { disk, lv, files }) {
  const qcow2 = input(`${WORK}/${name}.qcow2`, (part) => {
    const folder = `${WORK}/files`;
    rmSync(folder, { recursive: true, force: true });
    for (let d = 0; d < files / PER_FOLDER; d++) {
      mkdirSync(`${folder}/d${d}`, { recursive: true });
      for (let f = 0; f < PER_FOLDER; f++)
        writeFileSync(`${folder}/d${d}/f${f}`, f % 10 === 0 ? "x".repeat(9000) : "mail");
    }
    const raw = `${WORK}/${name}.raw`;
    const env = { ...process.env, SIZE: `${disk}G`, SWAP: "2G", LV: `${lv}G`, FILES: folder, KERNEL: "1" };
    execFileSync("sh", ["test/disks/make-guest.sh", "mbr-lvm", raw], { env, stdio: "inherit" });
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, part);
    rmSync(raw);
    rmSync(folder, { recursive: true });
  });
  const { offset, size } = lvPlace(qcow2, lv);
  const raw = input(`${WORK}/${name}-lvroot.raw`, (part) => {
    // The plain file system, for e2fsck alone: read back through qemu-img, not through us.
    const image = `driver=raw,offset=${offset},size=${size},file.driver=qcow2,file.file.filename=${qcow2}`;
    run("qemu-img", "convert", "--image-opts", image, "-O", "raw", part);
  });
  return { qcow2, raw, offset };
}

/** Where lvroot begins on the virtual disk: partition start, plus LVM2's first extent (the whole LV is one run). */
function lvPlace(qcow2, lv) {
  const head = `${WORK}/head.raw`;
  run("qemu-img", "dd", "-f", "qcow2", "-O", "raw", `if=${qcow2}`, `of=${head}`, "bs=1M", "count=4");
  const table = JSON.parse(
    execFileSync("sfdisk", ["--json", head], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
  );
  rmSync(head);
  const start = table.partitiontable.partitions[1].start * 512;
  // pvcreate's default alignment: the first extent lies 1 MiB into the volume (lvm.conf, default_data_alignment).
  return { offset: start + 1024 * 1024, size: lv * 1024 ** 3 };
}

/** The same guest on a virtual disk of `gib` GiB. */
export function grown(qcow2, gib) {
  return input(qcow2.replace(/\.qcow2$/, `-${gib}g.qcow2`), (part) => {
    run("cp", "--sparse=always", qcow2, part);
    run("qemu-img", "resize", "-q", "-f", "qcow2", part, `${gib}G`);
  });
}

/** The data at the start of a virtual disk of 64 GiB. */
export function sparseQcow2(raw, mib) {
  return input(`${WORK}/sparse-${mib}.qcow2`, (part) => {
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, part);
    run("qemu-img", "resize", "-q", "-f", "qcow2", part, "64G");
  });
}

/** `mib` MiB of programs and libraries, as a guest's root file system holds: neither all zeros nor random. */
export function realData(mib) {
  return input(`${WORK}/data-${mib}.raw`, (part) => {
    execFileSync("sh", [
      "-c",
      `{ tar cf - /usr/lib /usr/bin /usr/share; cat /dev/urandom; } 2>/dev/null | head -c ${mib}M > ${part}`,
    ]);
  });
}

/** The data as qcow2: plain, or compressed with `zlib` or `zstd`. */
export function qcow2Of(raw, compression) {
  return input(`${raw.replace(/\.raw$/, "")}-${compression ?? "plain"}.qcow2`, (part) => {
    const options = compression ? ["-c", "-o", `compression_type=${compression}`] : [];
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", ...options, raw, part);
  });
}

export const KEY = `${WORK}/key`;

function key() {
  mkdirSync(WORK, { recursive: true });
  writeFileSync(KEY, "correct horse battery staple");
  return KEY;
}

/** LUKS1, aes-256-xts, filled by QEMU. cryptsetup formats it: QEMU's own formatting gives up where it cannot measure its CPU time. */
export function luks1Of(raw) {
  return input(raw.replace(/\.raw$/, "-luks1.img"), (part) => {
    // LUKS1's payload begins at 2 MiB (cryptsetup's default alignment).
    run("truncate", "-s", String(statSync(raw).size + 2 * 1024 * 1024), part);
    const cheap = ["--pbkdf-force-iterations", "1000", "--cipher", "aes-xts-plain64", "--key-size", "512"];
    run("cryptsetup", "luksFormat", "-q", "--type", "luks1", "--key-file", key(), ...cheap, part);
    const secret = ["--object", `secret,id=k,file=${KEY}`, "--target-image-opts"];
    run("qemu-img", "convert", "-n", ...secret, "-f", "raw", raw, `driver=luks,key-secret=k,file.filename=${part}`);
  });
}

/** An empty LUKS2 container with room for `bytes`. */
export function emptyLuks2(name, bytes, ...options) {
  return input(`${WORK}/${name}.img`, (part) => {
    run("truncate", "-s", String(bytes + 16 * 1024 * 1024), part);
    const format = ["luksFormat", "-q", "--type", "luks2", "--key-file", key(), ...options];
    execFileSync("cryptsetup", [...format, part]);
  });
}

/**
 * The same bytes in a new file. How an old one lies in the page cache depends on who read it last: in small pieces it takes half as long again
 * to read it, and twice as long to write over it.
 */
export function renewed(path) {
  run("cp", "--sparse=never", path, `${path}.part`);
  run("sync", `${path}.part`);
  renameSync(`${path}.part`, path);
  return path;
}
