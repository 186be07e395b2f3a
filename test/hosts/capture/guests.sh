# The guests of the captured host, as they are defined first; `egress plan --apply` puts its filters in the place of these.
MAIL=a02523b8-fea2-5369-add0-0c2f184f2203 WEB=bd0276b4-69f2-5c0a-930b-82b30f9bbddb
devices() { # MAC IP
  cat <<X
    <interface type='bridge'><mac address='$1'/><source bridge='br0'/><model type='virtio'/>
      <filterref filter='clean-traffic'><parameter name='IP' value='$2'/></filterref></interface>
    <serial type='pty'/><console type='pty'/>
    <controller type='usb' model='none'/><memballoon model='none'/>
X
}
xml_mail() {
  cat <<X
<domain type='qemu'><name>mail</name><uuid>$MAIL</uuid><memory unit='MiB'>48</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><boot dev='hd'/></os><features><acpi/></features>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='block' device='disk'><driver name='qemu' type='raw' cache='none' io='native'/><source dev='/dev/vg1/mail'/><target dev='vda' bus='virtio'/></disk>
    $(devices 52:54:00:6d:61:01 192.0.2.21)
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/><video><model type='vga' vram='16384'/></video>
  </devices></domain>
X
}
xml_web() {
  cat <<X
<domain type='qemu'><name>web</name><uuid>$WEB</uuid><memory unit='MiB'>48</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram>
    <boot dev='hd'/></os><features><acpi/></features>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/var/lib/libvirt/images/web.qcow2'/><target dev='vda' bus='virtio'/></disk>
    $(devices 52:54:00:6d:61:02 192.0.2.11)
  </devices></domain>
X
}
