import { fuseMounts, isStale } from "../host/fuse-mounts.ts";
import { abandonedViews } from "../host/live-store.ts";
import { isAlive } from "../host/owner.ts";
import { listRuns, stateDirs } from "../host/run-store.ts";
import type { DoctorItem } from "./doctor.ts";
import { runDir, storedPlans } from "./plan-store.ts";

/** What commands that were killed have left and nobody has ended yet. */
export function leftBehind(): DoctorItem[] {
  const runs = listRuns(stateDirs());
  const crashed = runs.runs.filter(
    ({ record }) => (record.status === "running" || record.status === "undoing") && !isAlive(record.owner),
  );
  const { plans, damaged } = storedPlans(runDir());
  const plansLeft = plans.filter(({ owner }) => !isAlive(owner)).map(({ path }) => path);
  return [
    ...unreadable(runs.findings.map((f) => f.message)),
    item(
      "crashed runs",
      crashed.map(({ record }) => `${record.run} (${record.sources.map((s) => s.realpath).join(", ")})`),
      "the next command on their sources takes back what they had not finished",
    ),
    item("plans", [...plansLeft, ...damaged], "unterbau recover, as root, takes down what they have opened"),
    item(
      "views of running guests",
      abandonedViews().map(({ record }) => record.guest),
      "unterbau recover ends them",
    ),
    item(
      "mounts",
      fuseMounts()
        .filter(isStale)
        .map(({ folder }) => folder),
      "unterbau umount DIR, by the user who mounted, takes each away",
    ),
  ];
}

/** Other users than root cannot look into root's runs: that is no fault of theirs. */
function unreadable(messages: readonly string[]): DoctorItem[] {
  if (messages.length === 0) return [];
  const without = "a repair that was cut off may hide there (root sees it)";
  const base = { group: "host", name: "all runs", ok: false, required: false, install: null } as const;
  return [{ ...base, detail: messages.join("; "), without }];
}

function item(name: string, found: readonly string[], without: string): DoctorItem {
  const detail = found.length === 0 ? "none is left behind" : found.join("; ");
  return { group: "left-behind", name, ok: found.length === 0, detail, without, required: false, install: null };
}
