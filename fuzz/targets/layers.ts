import type { LayerDriver } from "../../src/core/layer.ts";
import { IMAGE_DRIVERS, NESTED_DRIVERS } from "../../src/stack/registry.ts";
import { probeWindow } from "../../src/stack/window.ts";
import { luks1Image, luks2Image } from "../../test/helpers/luks.ts";
import { type Input, Sparse } from "../engine/sparse.ts";
import type { Target } from "../engine/target.ts";
import { type Meter, watchedDevice } from "../engine/watched.ts";
import { fixChecksums } from "../fixers/index.ts";
import { seedsNamed } from "../seeds.ts";
import { fuzzContext } from "./context.ts";
import { exerciseLayer, tolerant } from "./exercise.ts";

const TOKENS: { readonly [driver: string]: readonly string[] } = {
  luks: [
    "LUKS\xba\xbe\0\x01",
    "LUKS\xba\xbe\0\x02",
    "sha256",
    "xts-plain64",
    '"dynamic"',
    '"linear"',
    "argon2id",
    "-1",
    "1e99",
  ],
  lvm: [
    "LABELONE",
    "segment_count = ",
    "stripe_count",
    "pv0",
    "pv1",
    '"striped"',
    '"thin"',
    "[",
    "]",
    "{",
    "}",
    "#",
    '"',
    "-1",
  ],
  qcow2: ["QFI\xfb", "json:{}", "raw", "\xe2\x79\x2a\xca", "\x68\x03\xf8\x57"],
  vmdk: ["KDMV", "RW 2048 SPARSE", "createType=", "# Disk DescriptorFile"],
};

/** What cryptsetup cannot make small enough to keep: headers with a keyslot that opens. */
function openable(): Input[] {
  const content = new Uint8Array(8192).fill(7);
  return [
    [Sparse.of(luks1Image({ keyBytes: 16, mode: "cbc-essiv:sha256", content }))],
    [Sparse.of(luks2Image({ content, sectorSize: 4096, label: "label" }))],
  ];
}

function layerTarget(driver: LayerDriver): Target {
  return {
    name: driver.name,
    seeds: () => [...seedsNamed(`${driver.name}-`), ...(driver.name === "luks" ? openable() : [])],
    fix: fixChecksums,
    tokens: TOKENS[driver.name] ?? [],
    run: async (input, meter) => {
      // Images that may be read but not written (dirty, corrupt) are common; for the others the writing side reads as well.
      if (IMAGE_DRIVERS.includes(driver)) await tolerant(() => openAndUse(driver, input, meter, false));
      await openAndUse(driver, input, meter, true);
    },
  };
}

async function openAndUse(driver: LayerDriver, input: Input, meter: Meter, writable: boolean): Promise<void> {
  // An image's second part is its backing file; all parts of a set are members.
  const isImage = IMAGE_DRIVERS.includes(driver);
  const devices = (isImage ? input.slice(0, 1) : input).map((part, i) => watchedDevice(part, meter, i, writable));
  const hits = await Promise.all(devices.map((device) => driver.probe(probeWindow(device))));
  JSON.stringify(hits);
  if (!hits[0]) return;
  // A driver of single devices gets one; members of several sets may be handed over together, as a mistaken stack might.
  const members = hits[0].member === null ? devices.slice(0, 1) : devices.filter((_, i) => hits[i]);
  const layer = await driver.open(members, fuzzContext(input, meter, writable));
  await tolerant(() => exerciseLayer(layer, writable));
  await layer[Symbol.asyncDispose]();
}

/** One for each format in the registry: a new one is fuzzed as soon as it is registered. */
export function layerTargets(): Target[] {
  return [...IMAGE_DRIVERS, ...NESTED_DRIVERS].map(layerTarget);
}
