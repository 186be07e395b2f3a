import { expect, it } from "vitest";
import { connections, guestOf } from "./guests.ts";

it("looks where the user, the environment or virsh itself says", () => {
  expect(connections("qemu:///session", { LIBVIRT_DEFAULT_URI: "test:///default" })).toEqual(["qemu:///session"]);
  // virsh reads these itself.
  expect(connections(undefined, { LIBVIRT_DEFAULT_URI: "test:///default" })).toEqual([null]);
  expect(connections(undefined, { VIRSH_DEFAULT_CONNECT_URI: "test:///default" })).toEqual([null]);
  const root = process.getuid?.() === 0;
  expect(connections(undefined, {})).toEqual(root ? [null] : ["qemu:///system", "qemu:///session"]);
});

it("tells guests from files", () => {
  expect(["vm:web", "vm:", "./vm:web", "web.qcow2"].map(guestOf)).toEqual(["web", "", null, null]);
});
