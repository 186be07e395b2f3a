import type { LayerDriver } from "../core/layer.ts";
import { gptDriver } from "../layers/gpt/driver.ts";
import { luksDriver } from "../layers/luks/driver.ts";
import { lvmDriver } from "../layers/lvm/driver.ts";
import { mbrDriver } from "../layers/mbr/driver.ts";
import { mdDriver } from "../layers/md/driver.ts";
import { qcow2Driver } from "../layers/qcow2/driver.ts";
import { vdiDriver } from "../layers/vdi/driver.ts";
import { vhdDriver } from "../layers/vhd/driver.ts";
import { vhdxDriver } from "../layers/vhdx/driver.ts";
import { vmdkDriver } from "../layers/vmdk/driver.ts";

/** Image formats, in the order in which a plain file is probed for them. Each driver's name is one of IMAGE_FORMATS. */
export const IMAGE_DRIVERS: readonly LayerDriver[] = [qcow2Driver, vmdkDriver, vdiDriver, vhdDriver, vhdxDriver];

/**
 * Layers that may stand anywhere in a stack, in the order in which they are asked. md comes first: with metadata at the
 * end, the array's own content begins where its member does. LVM comes before the partition tables: a physical
 * volume may carry an old table in its first sector. GPT comes before MBR: its protective MBR is one. Image formats are not here:
 * they are a property of the source, never of what a guest wrote into it.
 */
export const NESTED_DRIVERS: readonly LayerDriver[] = [mdDriver, luksDriver, lvmDriver, gptDriver, mbrDriver];
