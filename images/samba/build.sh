#!/bin/bash
# Builds the guest of the domain controller's story: Debian 12 with Samba, as controller or as member of a domain.
# Called by `cargo xtask images`, which sets OUT (an empty folder for the result), WORK (a folder for scratch, thrown
# away afterwards) and IMAGES (the folder of all images: `micro` is there already).
#
# The domain is made here and not at the first boot, because that takes minutes without hardware virtualization. So the
# controller must be `dc.lab.contoso.com` at 192.168.23.1; the machine that finds itself there becomes it.
# Kernel, initrd and init are those of the micro guest: a second to boot, and nothing runs but what the story needs.
# Packages come from the apt sources of this machine; needs root, as mmdebstrap does without user namespaces.
set -euo pipefail
# No SOURCE_DATE_EPOCH: Python would then hash its sources at each start, which costs the guest seconds.
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
: "${OUT:?folder for the result}" "${WORK:?folder for scratch}" "${IMAGES:?folder of all images}"
disk_size=${DISK_SIZE:-2G}
suite=bookworm
realm=LAB.CONTOSO.COM
password=Passw0rd-of-the-lab

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
    busybox-static krb5-user ldb-tools libnss-winbind qemu-guest-agent samba samba-ad-provision samba-dsdb-modules samba-vfs-modules
    smbclient winbind
)
root=$WORK/root
include=$(printf '%s\n' "${packages[@]}" | paste -sd,)

mmdebstrap --quiet --mode=root --variant=minbase --include="$include" \
    --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    "$suite" "$root" "${sources[@]}"

# ---- the domain --------------------------------------------------------------------------------------------------

# In a folder of its own, with its own smb.conf: a member doesn't look there. What one controller and one member don't
# need is left out: replication, NetBIOS, printers, and TLS, whose key alone would take a minute to make.
# Without a network, or the addresses of this host get into the domain's DNS.
domain=$root/srv/domain
rm "$root/etc/samba/smb.conf"
unshare --net chroot "$root" samba-tool domain provision --quiet --server-role=dc --dns-backend=SAMBA_INTERNAL \
    --realm="$realm" --domain=LAB --host-name=dc --host-ip=192.168.23.1 --adminpass="$password" \
    --targetdir=/srv/domain 2> "$WORK/provision.log" || { cat "$WORK/provision.log" >&2; exit 1; }
# An image may be kept for long; its domain must not think that the administrator's password is too old by then.
unshare --net chroot "$root" samba-tool domain passwordsettings set --quiet --max-pwd-age=0 \
    -H /srv/domain/private/sam.ldb --configfile=/srv/domain/etc/smb.conf > "$WORK/tool.log"
# A running controller does this too, minutes after its start; without, nobody gets a ticket for its directory.
unshare --net chroot "$root" samba_spnupdate --configfile=/srv/domain/etc/smb.conf > "$WORK/tool.log"
mkdir -p "$domain/cache"
sed -e '/dns forwarder/d' -e '/^\[global\]/r /dev/stdin' "$domain/etc/smb.conf" > "$WORK/smb.conf" <<'END'
	dns forwarder = 192.168.23.254
	server services = s3fs, rpc, ldap, cldap, kdc, winbindd, dns
	prefork children = 1
	tls enabled = no
	disable netbios = yes
	smb ports = 445
	load printers = no
	printcap name = /dev/null
END
cp "$WORK/smb.conf" "$domain/etc/smb.conf"

# ---- init, as in the micro guest ---------------------------------------------------------------------------------

micro=$here/../micro/root
for path in etc/inittab etc/init.d etc/acpi etc/hosts usr/share/udhcpc usr/lib/wardian usr/sbin/shutdown; do
    mkdir -p "$root/$(dirname "$path")"
    cp -r --no-target-directory --preserve=mode,links "$micro/$path" "$root/$path"
done
find "$root/etc/init.d" "$root/usr/lib/wardian" "$root/usr/share/udhcpc" "$root/etc/acpi" -type f -exec chmod 0755 {} +
chmod 0755 "$root/usr/sbin/shutdown"
# They are written for busybox's shell; Debian's knows no `read -t`.
grep -rlZ '^#!/bin/sh' "$root/etc/init.d/rcS" "$root/etc/init.d/rcK" "$root/usr/lib/wardian" "$root/usr/share/udhcpc" |
    xargs -0 sed -i '1s|^#!/bin/sh|#!/bin/busybox sh|'
chroot "$root" busybox --list-full | while read -r applet; do
    case $applet in usr/*) ;; *) applet=usr/$applet ;; esac
    for folder in usr/bin usr/sbin; do
        [ ! -e "$root/$folder/${applet##*/}" ] && [ ! -L "$root/$folder/${applet##*/}" ] || continue 2
    done
    ln -s /bin/busybox "$root/$applet"
done
rm -f "$root/etc/resolv.conf"
ln -s /run/resolv.conf "$root/etc/resolv.conf"
echo samba > "$root/etc/hostname"
cp -r --preserve=mode,links "$here/root/." "$root/"
chmod 0755 "$root/etc/wardian/start"

# The modules that belong to that kernel are on the micro guest's disk.
qemu-img convert -q -f qcow2 -O raw "$IMAGES/micro/disk.qcow2" "$WORK/micro.raw"
rm -rf "$root/usr/lib/modules"
debugfs -R "rdump /usr/lib/modules $root/usr/lib" "$WORK/micro.raw" 2> /dev/null
rm "$WORK/micro.raw"
cp "$IMAGES/micro/kernel" "$IMAGES/micro/initrd" "$OUT/"

# ---- the disk ----------------------------------------------------------------------------------------------------

rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
truncate -s "$disk_size" "$WORK/disk.raw"
mke2fs -q -t ext4 -F -L samba -E root_owner=0:0 -m 1 -d "$root" "$WORK/disk.raw"
qemu-img convert -q -f raw -O qcow2 -c "$WORK/disk.raw" "$OUT/disk.qcow2"

cat > "$OUT/image.json" <<END
{
  "name": "samba",
  "disk": "disk.qcow2",
  "kernel": "kernel",
  "initrd": "initrd",
  "command-line": "$(tr '\n' ' ' < "$here/../micro/command-line" | sed 's/ *$//')"
}
END
