import type { AuditLayer, HostReader } from "../model.ts";
import { type Storage, unknown } from "./layers.ts";

/** More than libvirt's own limit (VIR_MAX_BACKING_CHAIN). */
const MAX_CHAIN = 200;

/** What qemu-img says of one image (QEMU, qapi/block-core.json, ImageInfo), as far as it matters here. */
interface Image {
  readonly filename: string;
  readonly format: string;
  readonly backing: string | null;
  readonly dataFile: string | null;
  /** `aes-256-xts-plain64`; null: the image itself encrypts nothing. */
  readonly cipher: string | null;
}

export interface ImageLayers {
  readonly layers: AuditLayer;
  /** Why not all of it is known. */
  readonly problem: string | null;
}

/** An image with its backing chain, each member with what it lies on. `luks`: QEMU decrypts the disk, as the guest's definition says. */
export async function imageLayers(
  path: string,
  format: string,
  luks: boolean,
  host: HostReader,
  storage: Storage,
): Promise<ImageLayers> {
  const plain = async (problem: string | null): Promise<ImageLayers> => {
    const below = [await storage.under(path), ...(problem === null ? [] : [unknown("backing chain", null)])];
    return { layers: layer("image", format, path, below), problem };
  };
  // A raw disk's content is the guest's: nobody looks for an image in it.
  if (format === "raw" && !luks) return plain(null);
  const chain = format === "raw" ? [] : ["--backing-chain"];
  const result = await host.run([
    "qemu-img",
    "info",
    "--force-share",
    "--output=json",
    ...chain,
    "-f",
    format === "raw" ? "luks" : format,
    path,
  ]);
  if (result.kind === "missing") return plain("qemu-img is not installed");
  if (result.exit !== 0) return plain(`qemu-img info: ${result.stderr.trim().split("\n").at(-1) ?? "failed"}`);
  const images = parseImages(result.stdout);
  if (images === null) return plain("qemu-img's output was not understood");
  let layers: AuditLayer | null = null;
  let problem: string | null = null;
  for (const [i, image] of [...images.entries()].reverse()) {
    const files = [i === 0 ? path : image.filename, ...(image.dataFile === null ? [] : [image.dataFile])];
    const under: AuditLayer[] = [];
    for (const file of files) {
      if (file.startsWith("/")) under.push(await storage.under(file));
      else {
        under.push(unknown(file, null));
        problem = `where ${file} is, is not known`;
      }
    }
    // The images below hold bytes of their own, whether this one encrypts or not.
    const own =
      image.cipher === null ? under : [{ ...layer("luks inside", image.format, files[0]!, under), ...cryptOf(image) }];
    const kind = i === 0 ? "image" : "backing image";
    layers = layer(kind, image.format, files[0]!, [...own, ...(layers === null ? [] : [layers])]);
  }
  const last = images.at(-1);
  if (last?.backing != null) problem = `the backing chain ends at ${last.backing}, which qemu-img did not open`;
  if (layers === null) return plain("qemu-img named no image");
  return problem === null
    ? { layers, problem }
    : { layers: { ...layers, below: [...layers.below, unknown("backing chain", null)] }, problem };
}

function layer(kind: string, name: string, path: string, below: readonly AuditLayer[]): AuditLayer {
  return { kind, name, path, cipher: null, keyBits: null, encrypts: false, medium: null, below };
}

function cryptOf({ cipher }: Image): Pick<AuditLayer, "cipher" | "keyBits" | "encrypts"> {
  const bits = Number(/-(\d+)-/.exec(cipher ?? "")?.[1] ?? 0);
  // XTS takes two keys.
  return { cipher, keyBits: cipher?.includes("-xts") ? bits * 2 : bits, encrypts: true };
}

/** `qemu-img info --output=json`: one image, or with --backing-chain a list, topmost first. Null: not understood. */
export function parseImages(text: string): Image[] | null {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  const list = Array.isArray(json) ? json : [json];
  if (list.length > MAX_CHAIN) return null;
  const images = list.map(imageOf);
  return images.every((i) => i !== null) ? images : null;
}

function imageOf(value: unknown): Image | null {
  const fields = record(value);
  const { filename, format } = fields;
  if (typeof filename !== "string" || typeof format !== "string") return null;
  const data = record(record(fields["format-specific"]).data);
  const backing = fields["full-backing-filename"] ?? fields["backing-filename"];
  const file = data["data-file"];
  const folder = filename.slice(0, filename.lastIndexOf("/"));
  return {
    filename,
    format,
    backing: typeof backing === "string" ? backing : null,
    dataFile: typeof file !== "string" ? null : file.startsWith("/") ? file : `${folder}/${file}`,
    cipher: format === "luks" ? cipherName(data) : cipherName(record(data.encrypt)),
  };
}

/** Only LUKS: QEMU's own AES (`"format": "aes"`) is broken, and QEMU itself says so. */
function cipherName(crypt: Record<string, unknown>): string | null {
  const { "cipher-alg": alg, "cipher-mode": mode, "ivgen-alg": iv } = crypt;
  return typeof alg === "string" && typeof mode === "string" ? `${alg}-${mode}-${String(iv ?? "plain")}` : null;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
