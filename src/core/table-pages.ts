import { type BlockDevice, readBytes } from "./device.ts";

/** Bytes read at a time. */
const PAGE = 64 * 1024;
/** Pages kept: 4 MiB. */
const KEPT = 64;

/**
 * A table of fixed-size entries in an image, read in pages when they are first needed, so that opening a large image costs nothing. The
 * caller has proved that `[offset, offset + length)` lies inside the device.
 */
export class TablePages {
  readonly #device: BlockDevice;
  readonly #offset: number;
  readonly #length: number;
  /** In order of use, oldest first. */
  readonly #pages = new Map<number, DataView>();

  constructor(device: BlockDevice, offset: number, length: number) {
    this.#device = device;
    this.#offset = offset;
    this.#length = length;
  }

  /**
   * What `decode` makes of the entry at `at` of the table, which it finds at `index` of the view. An entry whose size divides 64 KiB never
   * lies in two views. Only a page that is not in memory costs a promise.
   */
  entry<T>(at: number, decode: (view: DataView, index: number) => T): T | Promise<T> {
    const page = Math.floor(at / PAGE);
    const index = at - page * PAGE;
    const view = this.#pages.get(page);
    return view ? decode(view, index) : this.#load(page).then((loaded) => decode(loaded, index));
  }

  async #load(page: number): Promise<DataView> {
    const start = page * PAGE;
    const bytes = await readBytes(this.#device, this.#offset + start, Math.min(PAGE, this.#length - start));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#pages.set(page, view);
    if (this.#pages.size > KEPT) this.#pages.delete(this.#pages.keys().next().value!);
    return view;
  }
}
