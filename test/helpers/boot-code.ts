import { closeSync, openSync, writeSync } from "node:fs";

/** Sectors that the guest writes all the time, first one and then the other, with a number that counts up (u32, little-endian). */
export const COUNTERS = [8, 1000] as const;

/**
 * Program for the start of a disk's first sector, the smallest guest there is: it has the power button enabled, writes its counters, and
 * powers off (ACPI S5) when the button is pressed. For QEMU's machine `pc`, whose PIIX4 has the ACPI registers where PCI register 0x40
 * of 00:01.3 says; PM1_STS is at 0, PM1_EN at 2, PM1_CNT at 4 (ACPI 6.5, 4.8.3). `deaf`: it never looks at the button.
 */
function program(deaf: boolean): Uint8Array {
  const u16 = (n: number) => [n & 0xff, n >> 8];
  const packet = 0x7d80; // int 13h, ah=43h: a disk address packet, after the code and before the partition table
  const buffer = 0x8000;
  const write = (lba: number) => [
    ...[0xc7, 0x06, ...u16(packet + 8), ...u16(lba)], // mov word [packet.lba], lba
    ...[0xbe, ...u16(packet)], // mov si, packet
    ...[0xb8, 0x00, 0x43], // mov ax, 0x4300
    ...[0xb2, 0x80], // mov dl, 0x80
    ...[0xcd, 0x13], // int 13h
  ];
  const setUp = [
    ...[0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c], // ds = es = ss = 0, sp = 0x7c00
    ...[0x66, 0xb8, 0x40, 0x0b, 0x00, 0x80], // mov eax, 0x80000b40
    ...[0xba, 0xf8, 0x0c, 0x66, 0xef], // out 0xcf8, eax
    ...[0xba, 0xfc, 0x0c, 0x66, 0xed], // in eax, 0xcfc
    ...[0x83, 0xe0, 0xc0, 0xa3, ...u16(0x7e00)], // and ax, 0xffc0; mov [0x7e00], ax
    ...[0x89, 0xc2, 0x83, 0xc2, 0x02, 0xb8, 0x00, 0x01, 0xef], // PM1_EN = PWRBTN_EN
    ...[0xc7, 0x06, ...u16(packet), ...u16(0x0010)], // packet: its size,
    ...[0xc7, 0x06, ...u16(packet + 2), ...u16(1)], // one sector
    ...[0xc7, 0x06, ...u16(packet + 4), ...u16(buffer)], // at 0:buffer
    0xfb, // sti
  ];
  const count = [0x66, 0xff, 0x06, ...u16(buffer)]; // inc dword [buffer]
  const look = deaf
    ? []
    : [
        ...[0x8b, 0x16, ...u16(0x7e00), 0xed], // mov dx, [0x7e00]; in ax, dx
        ...[0xf6, 0xc4, 0x01, 0x74, 0x08], // test ah, 1; jz over the next
        ...[0x83, 0xc2, 0x04, 0xb8, 0x00, 0x20, 0xef, 0xf4], // PM1_CNT = SLP_EN, SLP_TYP 0; hlt
      ];
  // hlt: until the timer's next tick, 18 times a second, so that the emulated processor is not busy all the time.
  const body = [...count, ...write(COUNTERS[0]), ...write(COUNTERS[1]), 0xf4, ...look];
  const back = -(body.length + 3);
  const code = Uint8Array.from([...setUp, ...body, 0xe9, ...u16(back & 0xffff)]);
  if (code.length > 0x180) throw new Error("the program is too long");
  return code;
}

/** Puts the program into a raw disk with an MBR; the partition table and the boot signature stay. */
export function makeBootable(disk: string, options: { readonly deaf?: boolean } = {}): void {
  const fd = openSync(disk, "r+");
  const code = program(options.deaf ?? false);
  writeSync(fd, code, 0, code.length, 0);
  closeSync(fd);
}
