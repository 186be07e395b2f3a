import { expect, it } from "vitest";
import { auditHost, outcomeOf } from "../../../test/helpers/hosts.ts";

const FOLDER = "/var/lib/libvirt/qemu/nvram";

/** PERM-01 of a guest whose firmware variables cannot be looked at, with what their folder lists. */
async function without(guest: string, list: readonly string[]) {
  const edits = [{ stat: { [`${FOLDER}/${guest}_VARS.fd`]: null }, paths: { [FOLDER]: { list } } }];
  const { state, remarks } = outcomeOf(await auditHost(edits), "PERM-01", guest);
  return [state, remarks.find((r) => r.code.startsWith("not-"))?.code];
}

it("asks no rights of firmware variables that libvirt has not made yet", async () => {
  expect(await without("web", ["mail_VARS.fd"])).toEqual(["pass", "not-yet"]);
});

it("does not know those that are there and cannot be looked at, and those of a guest that runs", async () => {
  expect(await without("web", ["mail_VARS.fd", "web_VARS.fd"])).toEqual(["unknown", "not-there"]);
  expect(await without("mail", ["web_VARS.fd"])).toEqual(["unknown", "not-there"]);
});
