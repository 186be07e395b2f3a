import { findGuest } from "../../src/usecases/guests.ts";
import { openLiveView } from "../../src/usecases/live-view.ts";

/** Opens a view of the guest `web`, says so, and stays until it is killed. Arguments: libvirt's URI, the scratch folder. */
const [connect, scratch] = process.argv.slice(2);
const view = await openLiveView(await findGuest("web", { connect }), { quiesce: false, scratch });
process.stdout.write(`${view.sources[0]}\n`);
setInterval(() => {}, 60_000);
