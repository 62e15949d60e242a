#!/bin/bash
# Builds the micro guest: the distribution's cloud kernel, an initramfs that does nothing but mount the root, and a
# small writable ext4 root with busybox, the QEMU guest agent and a few tools. Called by `cargo xtask images`, which
# sets OUT (an empty folder for the result) and WORK (a folder for scratch, thrown away afterwards).
# Needs no root rights beyond what apt and mke2fs need; all packages come from the apt sources of this machine.
set -euo pipefail
export LC_ALL=C SOURCE_DATE_EPOCH=1700000000

here=$(cd "$(dirname "$0")" && pwd)
: "${OUT:?folder for the result}" "${WORK:?folder for scratch}"
disk_size=${DISK_SIZE:-512M}

# What the guest has, by package. Libraries follow from the programs, see copy_program.
programs=(
    qemu-guest-agent:usr/sbin/qemu-ga
    iperf3:usr/bin/iperf3
    curl:usr/bin/curl
    nftables:usr/sbin/nft
    sg3-utils:usr/bin/sg_inq
    sg3-utils:usr/bin/sg_vpd
    sg3-utils:usr/bin/sg_readcap
    sg3-utils:usr/bin/sg_luns
    sg3-utils:usr/bin/sg_turs
    sg3-utils:usr/bin/sg_persist
    sg3-utils:usr/bin/sg_dd
    sg3-utils:usr/bin/sg_scan
)

pool=$WORK/pool
root=$WORK/root
early=$WORK/early
mkdir -p "$WORK/debs" "$pool" "$root" "$early"

# ---- packages -------------------------------------------------------------------------------------------------

# The meta package names the kernel of the day.
kernel_package=$(apt-cache depends --important linux-image-cloud-amd64 |
    sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
[ -n "$kernel_package" ] || { echo "no kernel behind linux-image-cloud-amd64: run apt-get update" >&2; exit 1; }

names=$(printf '%s\n' "${programs[@]%%:*}" | sort -u)
# shellcheck disable=SC2086 # a list of words is meant
closure=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances --no-pre-depends $names | sed -n '/^[a-z0-9]/p' |
    grep -E '^(lib|zlib)' | grep -vE '^lib(perl|pam|debian|newt|semanage|.*-perl$|slang|text)' | sort -u)

# apt warns when its own user cannot write here, and downloads as root then: nothing to worry the reader with.
# shellcheck disable=SC2086
(cd "$WORK/debs" && apt-get -qq download $kernel_package busybox-static $names $closure 2> >(grep -v 'unsandboxed' >&2))
for deb in "$WORK"/debs/*.deb; do
    dpkg -x "$deb" "$pool"
done

release=$(basename "$pool"/boot/vmlinuz-* | sed 's/^vmlinuz-//')
modules=$pool/lib/modules/$release

# ---- kernel ---------------------------------------------------------------------------------------------------

. "$here/../common/kernel.sh"
boot_kernel "$pool/boot/vmlinuz-$release" "$OUT/kernel"

# ---- helpers --------------------------------------------------------------------------------------------------

"$pool/bin/busybox" depmod -b "$pool" "$release"

# Paths, below the module folder, of everything the named modules need, and of themselves, in the order of loading.
with_needs() {
    local name line
    for name in "$@"; do
        line=$(grep -E "/${name//[-_]/[-_]}\.ko:" "$modules/modules.dep") ||
            { echo "the kernel has no module $name" >&2; return 1; }
        echo "${line#*:} ${line%%:*}" | tr ' ' '\n' | sed '/^$/d' | tac_needs
    done | awk '!seen[$0]++'
}

# modules.dep lists needs with the one to load first at the end; the module itself comes last.
tac_needs() {
    awk '{ line[NR] = $0 } END { for (i = NR - 1; i > 0; i--) print line[i]; print line[NR] }'
}

loader=$(find "$pool" -name 'ld-linux-x86-64.so.2' -type f -print -quit)
library_path=$pool/lib/x86_64-linux-gnu:$pool/usr/lib/x86_64-linux-gnu

# Copies a program of the pool and every library its loader would map, each to its place under a merged /usr.
copy_program() {
    local program=$1 library
    install -D -m 0755 "$pool/$program" "$root/$program"
    "$loader" --library-path "$library_path" --list "$pool/$program" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' |
        while read -r library; do
            case $library in
                "$pool"/*) ;;
                *) echo "$program wants $library, which is in no package of the list" >&2; exit 1 ;;
            esac
            [ -e "$root/usr/lib/x86_64-linux-gnu/$(basename "$library")" ] ||
                install -m 0644 "$library" "$root/usr/lib/x86_64-linux-gnu/$(basename "$library")"
        done
}

# ---- initramfs: find the disk, mount it, go there -----------------------------------------------------------------

mkdir -p "$early"/{bin,dev,proc,root,modules}
cp "$pool/bin/busybox" "$early/bin/busybox"
install -m 0755 "$here/early-init" "$early/init"
number=10
with_needs virtio_pci virtio_blk > "$WORK/early-modules"
while read -r module; do
    cp "$modules/$module" "$early/modules/$number-$(basename "$module")"
    number=$((number + 1))
done < "$WORK/early-modules"
# Not compressed: unpacking costs the guest more than reading costs the host.
(cd "$early" && find . -exec touch -hd "@$SOURCE_DATE_EPOCH" {} + && find . | sort |
    cpio --quiet --reproducible -o -H newc -R 0:0) > "$OUT/initrd"

# ---- root -----------------------------------------------------------------------------------------------------

mkdir -p "$root"/usr/{bin,sbin,lib/x86_64-linux-gnu,lib64,share} \
    "$root"/{boot,dev,etc,home,media,mnt,opt,proc,root,run,srv,sys,tmp} "$root"/var/{cache,lib,log,spool,www,tmp}
chmod 1777 "$root/tmp" "$root/var/tmp"
chmod 0700 "$root/root"
for folder in bin sbin lib lib64; do
    ln -s "usr/$folder" "$root/$folder"
done
ln -s ../run "$root/var/run"
ln -s ../run/lock "$root/var/lock"
install -m 0755 "$loader" "$root/usr/lib64/ld-linux-x86-64.so.2"
ln -s /run/resolv.conf "$root/etc/resolv.conf"
ln -s /proc/self/mounts "$root/etc/mtab"

cp "$pool/bin/busybox" "$root/usr/bin/busybox"
"$pool/bin/busybox" --list-full | while read -r applet; do
    case $applet in usr/*) ;; *) applet=usr/$applet ;; esac
    [ -e "$root/$applet" ] || [ "$applet" = usr/bin/busybox ] || ln -s /usr/bin/busybox "$root/$applet"
done
for entry in "${programs[@]}"; do
    copy_program "${entry#*:}"
done

kept=$root/lib/modules/$release
mkdir -p "$kept"
cp "$modules/modules.builtin" "$modules/modules.order" "$kept/"
# shellcheck disable=SC2046 # a list of words is meant
with_needs virtio_pci virtio_blk $(sed 's/#.*//' "$here/modules") > "$WORK/modules"
while read -r module; do
    install -D -m 0644 "$modules/$module" "$kept/$module"
done < "$WORK/modules"
"$pool/bin/busybox" depmod -b "$root" "$release"

cp -r --preserve=mode,links "$here/root/." "$root/"
rm -f "$root/usr/sbin/shutdown"
install -m 0755 "$here/root/usr/sbin/shutdown" "$root/usr/sbin/shutdown"
find "$root/etc/init.d" "$root/usr/lib/wardian" "$root/usr/share/udhcpc" "$root/etc/acpi" -type f -exec chmod 0755 {} +

find "$root" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
truncate -s "$disk_size" "$WORK/disk.raw"
# metadata_csum and 64bit off: checksums are work for the guest and this disk is small.
mke2fs -q -t ext4 -F -L micro -U 5ba3c8e1-6d41-4f4e-9a73-6f1f70c1a0de -E root_owner=0:0,lazy_itable_init=0,hash_seed=5ba3c8e1-6d41-4f4e-9a73-6f1f70c1a0de \
    -O ^metadata_csum,^64bit,^has_journal -m 0 -d "$root" "$WORK/disk.raw"
tune2fs -j -J size=4 "$WORK/disk.raw" > "$WORK/tune2fs.log"
qemu-img convert -q -f raw -O qcow2 -c -o compression_type=zlib "$WORK/disk.raw" "$OUT/disk.qcow2"

# ---- description ----------------------------------------------------------------------------------------------

cat > "$OUT/image.json" <<END
{
  "name": "micro",
  "disk": "disk.qcow2",
  "kernel": "kernel",
  "initrd": "initrd",
  "command-line": "$(tr '\n' ' ' < "$here/command-line" | sed 's/ *$//')"
}
END
