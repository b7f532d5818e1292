#!/usr/bin/env bash
# Builds a system for QEMU in target/image/BOARD: Debian's userland, its kernel with the virtual camera (vivid), systemd,
# and the package kasacam.
#
#   cross/image.sh BOARD        qemu-virt-armv7 or qemu-virt-aarch64
#
#   kernel, initrd    for QEMU
#   system.img        the root, read only (ext4)
#   skeleton/         the initial content of a data partition
#
# Nothing is mounted, and root is not needed: packages are unpacked, and mkfs fills the file system.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  qemu-virt-armv7) target=armv7-unknown-linux-gnueabihf ;;
  qemu-virt-aarch64) target=aarch64-unknown-linux-gnu ;;
  *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
board=$1
# shellcheck source=cross/target.sh
. cross/target.sh
# shellcheck source=cross/apt.sh
. cross/apt.sh
target_is "$target"

scripts/debian-packages.sh cpio e2fsprogs f2fs-tools kmod qemu-user-static systemd xz-utils
PATH=$PATH:/usr/sbin:/sbin
# The licences of the libraries are needed for what is published; an image for tests is not.
package=$(LICENCES=/dev/null scripts/deb.sh "$target")

# All files belong to root in the image, whoever builds it.
if ((EUID != 0)) && [[ -z ${KASACAM_AS_ROOT:-} ]]; then
  KASACAM_AS_ROOT=1 exec unshare --map-root-user "$0" "$@"
fi

folder=$(cross_folder)/../image/$board
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
base=$folder/base

# The slow part: everything except the package. It is kept until the lists change.
wanted=$(sha256sum cross/image.sh cross/packages.sh cross/image/*)
if [[ $(cat "$folder/.complete" 2>/dev/null || true) != "$wanted" ]]; then
  rm -rf --one-file-system "$folder"
  mkdir -p "$base"/usr/{bin,sbin,lib}
  for merged in bin sbin lib; do ln -s "usr/$merged" "$base/$merged"; done

  echo "Fetching the $debian packages of Debian ..." >&2
  apt=$folder/apt
  mapfile -t packages < <(cross/packages.sh system "$target")
  private_apt "$apt" "$debian" "$apt/status"
  APT_CONFIG=$apt/apt.conf apt-get -qq -y --download-only install "${packages[@]}" >&2
  # The kernel without its dependencies: its package needs a tool that makes initrds.
  image=$(APT_CONFIG=$apt/apt.conf apt-cache depends --important "$kernel" | sed -n 's/.*Depends: \(linux-image-\S*\)/\1/p')
  (cd "$apt/cache/archives" && APT_CONFIG=$apt/apt.conf apt-get -qq download "$image")

  echo "Unpacking them ..." >&2
  unpack "$apt" "$base"
  mkdir -p "$base/var/lib/dpkg"/{info,updates,triggers}
  for deb in "$apt"/cache/archives/*.deb; do
    name=$(dpkg-deb --field "$deb" Package)
    { dpkg-deb --field "$deb"; echo "Status: install ok installed"; echo; } >>"$base/var/lib/dpkg/status"
    dpkg-deb --fsys-tarfile "$deb" | tar --list | sed 's|^\./$|/.|; t; s|^\.||; s|/$||' >"$base/var/lib/dpkg/info/$name.list"
  done
  rm -rf "$apt"

  # Remove what nothing here reads or runs.
  plugins=$base/usr/lib/$gnu/gstreamer-1.0
  mkdir "$plugins.wanted"
  for plugin in $(cross/packages.sh system-plugins); do mv "$plugins/libgst$plugin.so" "$plugins.wanted/"; done
  rm -rf "$plugins" "${base:?}"/usr/share/{doc,man,locale,info,icons,perl,perl5,fonts,X11,alsa,mime,lintian} "${base:?}"/usr/lib/"$gnu"/{perl,dri}
  mv "$plugins.wanted" "$plugins"

  kernels=("$base"/boot/vmlinuz-*)
  version=${kernels[0]##*/vmlinuz-}
  cp "${kernels[0]}" "$folder/kernel"
  rm -rf "${base:?}"/boot/*
  # Remove drivers of other machines.
  (cd "$base/lib/modules/$version/kernel" && rm -rf sound/soc sound/pci sound/usb drivers/{gpu,iio,infiniband,staging,hid,usb,mtd,ata,scsi,mmc,bluetooth,thermal,spi,i2c,mfd,crypto} \
    drivers/net/{wireless,ethernet,usb,can,dsa,phy} drivers/media/{dvb-frontends,usb,pci,tuners,radio} net/{bluetooth,mac80211,wireless,netfilter,sctp,tipc,can} fs/{btrfs,xfs,nfs,nfsd,ocfs2,gfs2,cifs,ceph,afs,smb})
  depmod -b "$base" "$version"

  echo "Configuring ..." >&2
  for table in passwd group; do cp "$base/usr/share/base-passwd/$table.master" "$base/etc/$table"; done
  : >"$base/etc/machine-id"
  echo uninitialized >"$base/etc/machine-id"
  echo kasacam >"$base/etc/hostname"
  printf '127.0.0.1 localhost\n' >"$base/etc/hosts"
  cp cross/image/fstab "$base/etc/fstab"
  ln -sf /proc/self/mounts "$base/etc/mtab"
  install -D --mode=644 cross/image/network "$base/etc/systemd/network/10-qemu.network"
  install -D --mode=644 cross/image/shell.service "$base/usr/lib/systemd/system/kasacam-shell.service"
  install -D --mode=755 cross/image/shell "$base/usr/lib/kasacam/shell"
  mkdir -p "$base"/{data,proc,sys,dev,run,tmp,var/lib/kasacam,etc/kasacam,etc/modprobe.d,etc/modules-load.d}
  # One virtual camera with a test picture.
  echo "options vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0" >"$base/etc/modprobe.d/vivid.conf"
  echo vivid >"$base/etc/modules-load.d/vivid.conf"
  mkdir -p "$base/etc/systemd/journald.conf.d"
  printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=4M\nForwardToConsole=no\n' >"$base/etc/systemd/journald.conf.d/volatile.conf"
  systemd-sysusers --root="$base" 2>/dev/null
  ln -sf /lib/systemd/system/multi-user.target "$base/etc/systemd/system/default.target"
  systemctl --root="$base" --quiet enable kasacam-shell.service systemd-networkd.service
  # No logins, no clean-up jobs, no time service (QEMU sets the clock), and no start limits: an emulated processor is slow.
  systemctl --root="$base" --quiet mask getty.target console-getty.service systemd-firstboot.service \
    systemd-networkd-wait-online.service systemd-network-generator.service systemd-timesyncd.service \
    dbus.service dbus.socket systemd-logind.service systemd-user-sessions.service \
    modprobe@{configfs,dm_mod,drm,efi_pstore,fuse,loop}.service systemd-remount-fs.service systemd-random-seed.service \
    sys-kernel-{debug,tracing,config}.mount sys-fs-fuse-connections.mount dev-{mqueue,hugepages}.mount \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-journal-flush.service \
    systemd-machine-id-commit.service systemd-pcrphase.service systemd-tmpfiles-clean.timer \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
  find "$base/usr/lib/systemd/system-generators" -type f ! -name systemd-fstab-generator -delete

  echo "Making the initrd ..." >&2
  initrd=$folder/initrd.d
  mkdir -p "$initrd"/{bin,modules}
  cp "$base/usr/bin/busybox" "$initrd/bin/"
  cp cross/image/init "$initrd/"
  for module in virtio_pci virtio_blk ext4; do
    modprobe --dirname="$base" --set-version="$version" --show-depends "$module"
  done | sed -n 's/^insmod \(\S*\).*/\1/p' | awk '!seen[$0]++' | while IFS= read -r module; do
    cp "$module" "$initrd/modules/"
    echo "${module##*/}"
  done >"$initrd/modules/order"
  (cd "$initrd" && find . | LC_ALL=C sort | cpio --quiet --create --format=newc --owner=0:0) | gzip -1 >"$folder/initrd"
  rm -rf "$initrd"
  echo "$wanted" >"$folder/.complete"
fi

# The package, as dpkg would install it: its scripts know DPKG_ROOT.
root=$folder/root
rm -rf --one-file-system "$root"
cp -a "$base" "$root"
dpkg-deb --extract "$package" "$root"
dpkg-deb --control "$package" "$root/.control"
DPKG_ROOT=$root "$root/.control/postinst" configure ""
{ cat "$root/.control/control"; echo "Status: install ok installed"; echo; } >>"$root/var/lib/dpkg/status"
rm -r "$root/.control"
systemctl --root="$root" --quiet enable kasacamd.service
# The list of dpkg is part of the system image, since /var is emptied at each start.
mv "$root/var/lib/dpkg" "$root/usr/lib/dpkg-database"
rm -rf "${root:?}"/var/* "${root:?}"/tmp/*

rm -f "$folder/system.img"
mib=$(($(du -sm "$root" | cut -f1) * 5 / 4 + 64))
mkfs.ext4 -q -F -L system -d "$root" "$folder/system.img" "${mib}M"
rm -rf --one-file-system "$root"
echo "$folder/system.img: $mib MiB"
