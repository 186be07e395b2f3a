/** Name of the area that grows. */
export const TABLE_AREA = "the refcount table";

interface Area {
  /** Host clusters, half-open. */
  readonly first: number;
  readonly end: number;
  readonly what: string;
}

/** Which host clusters hold the image's own structures: neither guest data nor a new allocation may lie on one. */
export class Layout {
  readonly #clusterSize: number;
  #areas: Area[] = [];
  /** The areas by start and made disjoint, for binary search; null after a change. */
  #index: Area[] | null = null;
  /** Host clusters of active L2 tables and refcount blocks. */
  readonly #tables = new Set<number>();

  constructor(clusterSize: number) {
    this.#clusterSize = clusterSize;
  }

  /** `offset` and `length` in bytes. */
  addArea(what: string, offset: number, length: number): void {
    if (length === 0) return;
    const first = Math.floor(offset / this.#clusterSize);
    this.#areas.push({ first, end: Math.ceil((offset + length) / this.#clusterSize), what });
    this.#index = null;
  }

  removeArea(what: string): void {
    this.#areas = this.#areas.filter((a) => a.what !== what);
    this.#index = null;
  }

  /** False when there is one already at `offset`. */
  addTable(offset: number): boolean {
    const before = this.#tables.size;
    return this.#tables.add(offset / this.#clusterSize).size > before;
  }

  removeTable(cluster: number): void {
    this.#tables.delete(cluster);
  }

  /** What lies on host cluster `cluster`, or null. */
  at(cluster: number): string | null {
    if (this.#tables.has(cluster)) return "an active table";
    return this.area(cluster);
  }

  /** Like `at`, for the fixed areas only; those are known as soon as the image is open. */
  area(cluster: number): string | null {
    this.#index ??= disjoint(this.#areas);
    let low = 0;
    let high = this.#index.length;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#index[middle]!.end <= cluster) low = middle + 1;
      else high = middle;
    }
    const found = this.#index[low];
    return found && found.first <= cluster ? found.what : null;
  }
}

/** In a damaged image areas may overlap (with 65536 snapshots, all of them); what an earlier one covers is cut from later ones. */
function disjoint(areas: readonly Area[]): Area[] {
  const out: Area[] = [];
  let end = 0;
  for (const a of [...areas].sort((x, y) => x.first - y.first)) {
    if (a.end <= end) continue;
    out.push({ ...a, first: Math.max(a.first, end) });
    end = a.end;
  }
  return out;
}
