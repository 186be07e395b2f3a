import { expect, it } from "vitest";
import { backupXml } from "./backup-xml.ts";
import { attributeOf, childOf, childrenOf, parseXml } from "./xml.ts";

it("keeps every name whole", () => {
  const hostile = `/tmp/a'b"<c>&d/nbd.sock`;
  const root = parseXml(
    backupXml(hostile, [
      { target: "vda", scratch: "/x/'&" },
      { target: "vdb", scratch: "/y" },
    ]),
    "domainbackup",
  );
  expect(attributeOf(childOf(root, "server"), "socket")).toBe(hostile);
  const disks = childrenOf(childOf(root, "disks")!, "disk");
  expect(
    disks.map((d) => [
      attributeOf(d, "name"),
      attributeOf(d, "exportname"),
      attributeOf(childOf(d, "scratch"), "file"),
    ]),
  ).toEqual([
    ["vda", "vda", "/x/'&"],
    ["vdb", "vdb", "/y"],
  ]);
});
