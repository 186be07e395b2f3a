import { SPILL_SLOT, SpillFile } from "./spill.ts";

/** Bytes of one block of an overlay: a page, and the usual block of the file systems that are checked. */
export const OVERLAY_BLOCK = SPILL_SLOT;
/** Blocks of a group (one index array) and of a slab (one allocation): 1 MiB. */
const GROUP = 256;

const ABSENT = 0;
const ZERO = 1;
/** Index values from here on are slot numbers plus this. */
const FIRST_SLOT = 2;

/** Shared by all groups that were zeroed as a whole, so that zeroing terabytes costs one map entry per MiB. */
const ALL_ZERO = new Int32Array(GROUP).fill(ZERO);

export type BlockState = "absent" | "zero" | "data";

/** Sparse blocks by number, in memory up to a limit and in an encrypted scratch file beyond it. */
export class BlockStore {
  readonly #groups = new Map<number, Int32Array>();
  readonly #slabs: Uint8Array[] = [];
  readonly #memorySlots: number;
  readonly #spillDirectory: string | undefined;
  readonly #freeMemory: number[] = [];
  readonly #freeSpill: number[] = [];
  #nextMemory = 0;
  #nextSpill = 0;
  #spill: SpillFile | undefined;
  #blocks = 0;

  constructor(memoryLimit: number, spillDirectory: string | undefined) {
    this.#memorySlots = Math.floor(memoryLimit / OVERLAY_BLOCK);
    this.#spillDirectory = spillDirectory;
  }

  /** Blocks that are present, zero ones included. */
  get blocks(): number {
    return this.#blocks;
  }

  /** The state of `block`, and of how many from there on, at most `max`, it is known to be the same. */
  run(block: number, max: number): { readonly state: BlockState; readonly count: number } {
    if (this.#blocks === 0) return { state: "absent", count: max };
    const state = this.#stateOf(block);
    let count = 1;
    while (count < max) {
      const at = block + count;
      if (at % GROUP === 0 && state === "absent" && !this.#groups.has(at / GROUP))
        count += Math.min(GROUP, max - count);
      else if (this.#stateOf(at) === state) count++;
      else break;
    }
    return { state, count };
  }

  /** Copies present blocks from `block` on; `into.length` is a multiple of the block size. */
  read(block: number, into: Uint8Array): void {
    const count = into.length / OVERLAY_BLOCK;
    for (let i = 0; i < count; ) {
      const value = this.#get(block + i);
      const from = i * OVERLAY_BLOCK;
      if (value < FIRST_SLOT) {
        into.fill(0, from, from + OVERLAY_BLOCK);
        i++;
        continue;
      }
      const slot = value - FIRST_SLOT;
      if (slot < this.#memorySlots) {
        into.set(this.#memory(slot), from);
        i++;
        continue;
      }
      // Blocks that were written one after another lie in neighbouring slots: one read for all of them.
      let n = 1;
      while (i + n < count && this.#get(block + i + n) === value + n) n++;
      this.#spill!.read(slot - this.#memorySlots, into.subarray(from, from + n * OVERLAY_BLOCK));
      i += n;
    }
  }

  /** Stores whole blocks from `block` on; `from.length` is a multiple of the block size. */
  write(block: number, from: Uint8Array): void {
    const count = from.length / OVERLAY_BLOCK;
    for (let i = 0; i < count; ) {
      const slot = this.#slotFor(block + i);
      const at = i * OVERLAY_BLOCK;
      if (slot < this.#memorySlots) {
        this.#memory(slot).set(from.subarray(at, at + OVERLAY_BLOCK));
        this.#set(block + i, slot + FIRST_SLOT);
        i++;
        continue;
      }
      let n = 1;
      const slots = [slot];
      while (i + n < count && n < GROUP) {
        const next = this.#slotFor(block + i + n);
        if (next !== slot + n) {
          if (this.#get(block + i + n) - FIRST_SLOT !== next) this.#free(next);
          break;
        }
        slots.push(next);
        n++;
      }
      try {
        this.#spillFile().write(slot - this.#memorySlots, from.subarray(at, at + n * OVERLAY_BLOCK));
      } catch (error) {
        // A block that was there before keeps its slot; its content is unknown now, which the caller learns from the error.
        slots.forEach((s, k) => {
          if (this.#get(block + i + k) - FIRST_SLOT !== s) this.#free(s);
        });
        throw error;
      }
      for (let k = 0; k < n; k++) this.#set(block + i + k, slot + k + FIRST_SLOT);
      i += n;
    }
  }

  /** Marks blocks as zeros, which takes no storage. */
  zero(block: number, count: number): void {
    this.#each(block, count, ZERO);
  }

  /** Forgets blocks. */
  drop(block: number, count: number): void {
    this.#each(block, count, ABSENT);
  }

  /** Forgets all blocks from `block` on. */
  dropFrom(block: number): void {
    for (const key of [...this.#groups.keys()]) {
      const first = key * GROUP;
      if (first + GROUP > block) this.drop(Math.max(first, block), first + GROUP - Math.max(first, block));
    }
  }

  /** Runs of present blocks of the same state, ascending, of at most one group each. */
  *runs(): IterableIterator<{ readonly block: number; readonly count: number; readonly state: "zero" | "data" }> {
    for (const key of [...this.#groups.keys()].sort((a, b) => a - b)) {
      for (let i = 0; i < GROUP; ) {
        const { state, count } = this.run(key * GROUP + i, GROUP - i);
        if (state !== "absent") yield { block: key * GROUP + i, count, state };
        i += count;
      }
    }
  }

  /** Forgets everything and gives memory and scratch space back. */
  clear(): void {
    this.#groups.clear();
    this.#slabs.length = 0;
    this.#freeMemory.length = 0;
    this.#freeSpill.length = 0;
    this.#nextMemory = 0;
    this.#nextSpill = 0;
    this.#blocks = 0;
    this.#spill?.close();
    this.#spill = undefined;
  }

  #stateOf(block: number): BlockState {
    const value = this.#get(block);
    return value === ABSENT ? "absent" : value === ZERO ? "zero" : "data";
  }

  #get(block: number): number {
    return this.#groups.get(Math.floor(block / GROUP))?.[block % GROUP] ?? ABSENT;
  }

  #set(block: number, value: number): void {
    const key = Math.floor(block / GROUP);
    let group = this.#groups.get(key);
    if (!group || group === ALL_ZERO) {
      group = group ? group.slice() : new Int32Array(GROUP);
      this.#groups.set(key, group);
    }
    const old = group[block % GROUP]!;
    if (old === value) return;
    if (old >= FIRST_SLOT) this.#free(old - FIRST_SLOT);
    if (old === ABSENT) this.#blocks++;
    if (value === ABSENT) this.#blocks--;
    group[block % GROUP] = value;
  }

  #each(block: number, count: number, value: number): void {
    for (let at = block; at < block + count; ) {
      const key = Math.floor(at / GROUP);
      const rest = block + count - at;
      if (at % GROUP !== 0 || rest < GROUP) {
        this.#set(at++, value);
        continue;
      }
      const group = this.#groups.get(key);
      if (group === ALL_ZERO) this.#blocks -= GROUP;
      else if (group) for (let i = 0; i < GROUP; i++) this.#set(at + i, ABSENT);
      if (value === ZERO) {
        this.#groups.set(key, ALL_ZERO);
        this.#blocks += GROUP;
      } else {
        this.#groups.delete(key);
      }
      at += GROUP;
    }
  }

  /** The slot a block has already, or a new one that the block does not own yet. */
  #slotFor(block: number): number {
    const value = this.#get(block);
    if (value >= FIRST_SLOT) return value - FIRST_SLOT;
    const memory = this.#freeMemory.pop();
    if (memory !== undefined) return memory;
    if (this.#nextMemory < this.#memorySlots) return this.#nextMemory++;
    return this.#memorySlots + (this.#freeSpill.pop() ?? this.#nextSpill++);
  }

  #free(slot: number): void {
    if (slot < this.#memorySlots) this.#freeMemory.push(slot);
    else this.#freeSpill.push(slot - this.#memorySlots);
  }

  #memory(slot: number): Uint8Array {
    const index = Math.floor(slot / GROUP);
    let slab = this.#slabs[index];
    if (!slab) {
      slab = new Uint8Array(GROUP * OVERLAY_BLOCK);
      this.#slabs[index] = slab;
    }
    const at = (slot % GROUP) * OVERLAY_BLOCK;
    return slab.subarray(at, at + OVERLAY_BLOCK);
  }

  #spillFile(): SpillFile {
    this.#spill ??= new SpillFile(this.#spillDirectory);
    return this.#spill;
  }
}
