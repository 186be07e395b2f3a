import { cloneInput, type Input, type Sparse } from "./sparse.ts";

const PAGE = 4096;
const SMALLEST = 1;

/**
 * A smaller input that still shows the finding: everything that is not needed for it becomes zeros. `shows` runs the target;
 * it is called at most `budget` times.
 */
export async function minimise(
  input: Input,
  shows: (input: Input) => Promise<boolean>,
  budget: number,
): Promise<Sparse[]> {
  let best = cloneInput(input);
  let left = budget;
  const attempt = async (change: (parts: Sparse[]) => void): Promise<boolean> => {
    if (left-- <= 0) return false;
    const next = cloneInput(best);
    change(next);
    if (!(await shows(next))) return false;
    best = next;
    return true;
  };
  const clear = async (part: number, offset: number, length: number): Promise<void> => {
    const bytes = best[part]!.read(offset, length);
    if (left <= 0 || bytes.every((b) => b === 0)) return;
    if (await attempt((parts) => parts[part]!.write(offset, new Uint8Array(length)))) return;
    if (length <= SMALLEST) return;
    await clear(part, offset, length / 2);
    await clear(part, offset + length / 2, length / 2);
  };
  for (let part = 0; part < best.length; part++) {
    for (const page of best[part]!.pages()) await clear(part, page * PAGE, PAGE);
  }
  return best;
}
