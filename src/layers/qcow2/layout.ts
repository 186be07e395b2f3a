/** Which host clusters hold the image's own structures: neither guest data nor a new allocation may lie on one. */
export class Layout {
  readonly #clusterSize: number;
  /** Fixed areas as half-open ranges of host clusters, sorted by start. */
  #areas: { readonly first: number; readonly end: number; readonly what: string }[] = [];
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
    this.#areas.sort((a, b) => a.first - b.first);
  }

  removeArea(what: string): void {
    this.#areas = this.#areas.filter((a) => a.what !== what);
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
    // Overlapping areas are possible in a damaged image, so the search does not stop at the nearest one; there are few.
    for (const a of this.#areas) {
      if (a.first > cluster) return null;
      if (cluster < a.end) return a.what;
    }
    return null;
  }
}
