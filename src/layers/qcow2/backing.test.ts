import { describe, expect, it } from "vitest";
import { backingReference } from "./backing.ts";

describe("backing references", () => {
  it.each([
    ["base.img", "raw", { path: "base.img", format: "raw" }],
    ["../a/b.qcow2", null, { path: "../a/b.qcow2", format: null }],
    ["/srv/with:colon.img", "qcow2", { path: "/srv/with:colon.img", format: "qcow2" }],
    ["file:base.img", "raw", { path: "base.img", format: "raw" }],
    ['json:{"driver":"qcow2","file":{"driver":"file","filename":"x"}}', null, { path: "x", format: "qcow2" }],
    ['json:{"driver":"raw","file.filename":"x"}', "qcow2", { path: "x", format: "qcow2" }],
    ['json:{"driver":"qcow2","file.filename":"x"}', "raw", { path: "x", format: "raw" }],
    ['json:{"driver":"raw","file.filename":"x"}', null, { path: "x", format: "raw" }],
    ['json:{"driver":"file","filename":"x"}', null, { path: "x", format: "raw" }],
    [
      'json:{"driver":"qcow2","file":{"driver":"host_device","filename":"/dev/x"}}',
      "",
      { path: "/dev/x", format: "qcow2" },
    ],
    [
      'json:{"driver":"raw","file":{"driver":"qcow2","file":{"driver":"file","filename":"x"}}}',
      "raw",
      { path: "x", format: "qcow2" },
    ],
    [
      'json:{"driver":"qcow2","read-only":true,"cache":{"direct":true},"file":{"driver":"raw","file":{"driver":"file","filename":"x","locking":"off"}}}',
      "qcow2",
      { path: "x", format: "qcow2" },
    ],
    ["x.vmdk", "vmdk", { path: "x.vmdk", format: "vmdk" }],
    ['json:{"driver":"file","filename":"x"}', "raw", { path: "x", format: "raw" }],
    ['json:{"file.driver":"file","file.filename":"x"}', null, { path: "x", format: null }],
  ] as const)("%s with format %s", (name, format, expected) => {
    expect(backingReference(name, format)).toEqual(expected);
  });

  it.each([
    ["nbd:localhost:10809", "raw", "backing protocol nbd"],
    ["http://host/x", null, "backing protocol http"],
    ['json:{"driver":"raw","file":{"driver":"file","filename":"x"},"offset":512}', "raw", "backing option offset"],
    ['json:{"driver":"qcow2","file":{"driver":"vmdk","file.filename":"x"}}', null, "backing format qcow2 in vmdk"],
    ['json:{"driver":"qcow2","backing":null,"file.filename":"x"}', null, "backing option backing"],
    ['json:{"driver":"nbd","host":"x"}', null, "backing protocol nbd"],
    ['json:{"driver":"raw","file":{"driver":"nbd","host":"x"}}', null, "backing protocol nbd"],
    ['json:{"driver":"qcow2","file.filename":"x","encrypt.format":"luks"}', null, "backing option encrypt.format"],
    ['json:{"driver":"raw"}', null, "json: backing"],
  ] as const)("refuses %s with format %s by name", (name, format, feature) => {
    expect(() => backingReference(name, format)).toThrow(expect.objectContaining({ code: "unsupported", feature }));
  });

  it.each(["json:{", "json:3"])("calls %s corrupt", (name) => {
    expect(() => backingReference(name, null)).toThrow(expect.objectContaining({ code: "corrupt" }));
  });
});
