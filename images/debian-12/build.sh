#!/bin/bash
# Builds a Debian 12 guest: a small system with cloud-init (data source NoCloud), ssh, the QEMU guest agent and
# systemd-networkd, and its kernel and initrd for direct boot. Called by `cargo xtask images`, which sets OUT (an empty
# folder for the result) and WORK (a folder for scratch, thrown away afterwards).
# Packages come from the apt sources of this machine; needs root, as mmdebstrap does without user namespaces.
set -euo pipefail
export LC_ALL=C SOURCE_DATE_EPOCH=1700000000

here=$(cd "$(dirname "$0")" && pwd)
: "${OUT:?folder for the result}" "${WORK:?folder for scratch}"
disk_size=${DISK_SIZE:-4G}
suite=bookworm
. "$here/../common/kernel.sh"

# ---- the sources of this machine, for the release of the image ---------------------------------------------------

# shellcheck disable=SC1091 # a file of the system
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
sources=()
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] && grep -qw "$own" "$file" || continue
    copy=$WORK/${#sources[@]}.${file##*.}
    sed "s/\\b$own\\b/$suite/g" "$file" > "$copy"
    sources+=("$copy")
done
[ ${#sources[@]} -gt 0 ] || { echo "no apt source of this machine offers $own" >&2; exit 1; }

# ---- the system --------------------------------------------------------------------------------------------------

packages=(
    ca-certificates cloud-init curl dbus e2fsprogs initramfs-tools iproute2 iputils-ping kmod less
    linux-image-cloud-amd64 netbase openssh-server procps qemu-guest-agent sudo systemd-resolved systemd-sysv udev
)
root=$WORK/root
include=$(printf '%s\n' "${packages[@]}" | paste -sd,)

# The initrd needs no more than the disk's driver; this also keeps it quick to unpack.
mmdebstrap --quiet --mode=root --variant=minbase --include="$include" \
    --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"' \
    --essential-hook='printf "MODULES=list\nCOMPRESS=gzip\n" > "$1/etc/initramfs-tools/conf.d/wardian"' \
    --essential-hook='printf "virtio_pci\nvirtio_blk\next4\n" > "$1/etc/initramfs-tools/modules"' \
    --customize-hook="cp -r --preserve=mode,links '$here/root/.' \"\$1/\"" \
    --customize-hook='chroot "$1" systemctl --quiet enable systemd-networkd systemd-resolved ssh' \
    --customize-hook='chroot "$1" systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer systemd-networkd-wait-online' \
    --customize-hook='ln -sf /run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"' \
    --customize-hook='rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/hostname"; : > "$1/etc/machine-id"' \
    "$suite" "$root" "${sources[@]}"

release=$(basename "$root"/boot/vmlinuz-* | sed 's/^vmlinuz-//')
boot_kernel "$root/boot/vmlinuz-$release" "$OUT/kernel"
install -m 0644 "$root/boot/initrd.img-$release" "$OUT/initrd"

# ---- the disk ----------------------------------------------------------------------------------------------------

truncate -s "$disk_size" "$WORK/disk.raw"
mke2fs -q -t ext4 -F -L debian -E root_owner=0:0 -m 1 -d "$root" "$WORK/disk.raw"
qemu-img convert -q -f raw -O qcow2 -c "$WORK/disk.raw" "$OUT/disk.qcow2"

cat > "$OUT/image.json" <<END
{
  "name": "debian-12",
  "disk": "disk.qcow2",
  "kernel": "kernel",
  "initrd": "initrd",
  "command-line": "$(tr '\n' ' ' < "$here/command-line" | sed 's/ *$//')"
}
END
