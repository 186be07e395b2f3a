import { expect, it } from "vitest";
import { familyOf, installCommand } from "./packages.ts";

it("knows a distribution by os-release(5), and what it calls a package", () => {
  const of = (text: string) => installCommand("qemu-nbd", familyOf(text));
  expect(of('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n')).toBe("apt-get install qemu-utils");
  expect(of('NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n')).toBe("apt-get install qemu-utils");
  expect(of("ID=fedora\n")).toBe("dnf install qemu-img");
  expect(of('ID="rocky"\nID_LIKE="rhel centos fedora"\n')).toBe("dnf install qemu-img");
  expect(of('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n')).toBe("zypper install qemu-tools");
  expect(of("ID=arch\n")).toBe("pacman -S qemu-img");
  expect(of("ID=nixos\n")).toBeNull();
  expect(installCommand("unknown", "debian")).toBeNull();
  expect(installCommand("bwrap", "fedora")).toBe("dnf install bubblewrap");
});
