import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { parseHeader } from "../../src/layers/qcow2/header.ts";
import { Qcow2Image } from "../../src/layers/qcow2/image.ts";
import { afterCrash, type Event, random, recorder } from "./qcow2-recorder.ts";
import { corruptions } from "./qcow2-references.ts";
import { check, noise, qemuBytes, qemuIo, run, temporaryFolder } from "./qcow2-tools.ts";

const folder = temporaryFolder();
const SIZE = 512 * 1024;
const before = process.cwd();
beforeAll(() => process.chdir(folder));
afterAll(() => process.chdir(before));

describe("a power cut at any write of an image and its data file", () => {
  it.each([
    ["off", "data_file_raw=off,cluster_size=4096", false],
    ["raw", "data_file_raw=on,cluster_size=4096", true],
    ["subclusters", "data_file_raw=off,extended_l2=on,cluster_size=16k", false],
  ])("leaves no corruption and old or new data: %s", async (name, options, raw) => {
    const image = join(folder, `${name}.qcow2`);
    const data = join(folder, `${name}.data`);
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", `data_file=${name}.data,${options}`, image, String(SIZE));
    qemuIo(image, "write -P 7 0 100k", "write -P 9 300k 64k");
    const start = [readFileSync(image), readFileSync(data)] as const;
    const model = Uint8Array.from(qemuBytes(image));
    const all: Event[] = [];
    const files = [recorder(start[0], -1, all), recorder(start[1], -1, all)] as const;
    const header = parseHeader(await readBytes(files[0].device, 0, 512), DEFAULT_LIMITS);
    const disk = await Qcow2Image.open({
      file: files[0].device,
      dataFile: files[1].device,
      header,
      snapshots: { snapshots: [], length: 0 },
      backing: null,
      limits: DEFAULT_LIMITS,
    });
    const rand = random(name.length + 5);
    const history = [{ event: 0, model: Uint8Array.from(model), durable: true }];
    for (let n = 0; n < 24; n++) {
      const offset = Math.floor(rand() * SIZE);
      const length = Math.min(SIZE - offset, 1 + Math.floor(rand() * (n % 3 === 0 ? 60_000 : 3000)));
      const what = rand();
      const event = all.length;
      if (what < 0.5) {
        const bytes = noise(length, n + 1);
        await disk.write(bytes, offset);
        model.set(bytes, offset);
      } else if (what < 0.7) {
        await disk.zero(offset, length);
        model.fill(0, offset, offset + length);
      } else if (what < 0.8) {
        await disk.discard(offset, length);
        await disk.read(model.subarray(offset, offset + length), offset);
      } else {
        await disk.flush();
        history.push({ event: all.length, model: Uint8Array.from(model), durable: true });
        continue;
      }
      history.push({ event, model: Uint8Array.from(model), durable: false });
    }
    await disk.settle();

    /** Both files after a cut behind event `until` of all. */
    const cut = (until: number, survives: () => boolean) => {
      const seen = new Set(all.slice(0, until));
      return files.map(({ events }, i) => {
        const count = events.filter((e) => seen.has(e)).length;
        return afterCrash(start[i]!, events, count, survives);
      });
    };
    for (let n = 0; n < 150; n++) {
      const until = n === 0 ? all.length : Math.floor(rand() * all.length);
      const keep = n === 0 ? 1 : rand();
      const [imageBytes, dataBytes] = cut(until, () => rand() < keep);
      expect(corruptions(imageBytes!), `event ${until} of ${all.length}`).toEqual([]);
      if (n % 25 !== 0) continue;
      writeFileSync(image, imageBytes!);
      writeFileSync(data, dataBytes!);
      expect([0, 3]).toContain(check(image).status);
      const base = history.findLastIndex((h) => h.durable && h.event <= until);
      const possible = history.filter((h, i) => i >= base && (i === base || h.event < until)).map((h) => h.model);
      const bytes = qemuBytes(image);
      for (let i = 0; i < SIZE; i++) {
        if (!possible.some((m) => m[i] === bytes[i])) expect.fail(`byte ${i} after event ${until} of ${all.length}`);
      }
      if (raw) expect(Buffer.compare(dataBytes!.subarray(0, SIZE), bytes)).toBe(0);
    }
  });
});
