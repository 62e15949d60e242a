# The second interface of a Linux guest, the one on the lab network. Run by the guest agent: `sh -s prepare`, then `sh -s lease`.
#
# prepare  knows the other machines by their inside addresses; says and asks no names on the second interface; gives that interface
#          the hardware address of this instance, and takes from it what another instance had. Its link may be down.
# lease    gets the interface its address. Its link is up.
#
# From the environment: SLOT, the interface's PCI slot; MAC, ADDRESS, LENGTH, ROUTER, what it shall have; HOSTS, lines for /etc/hosts.
# Each part can be repeated, and leaves alone what isn't there.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
have() { command -v "$1" >/dev/null 2>&1; }
active() { have systemctl && systemctl is-active --quiet "$1" 2>/dev/null; }
fail() { echo "$1" >&2; exit 1; }

interface='' inside=''
for path in /sys/class/net/*; do
    case $(readlink -f "$path/device" 2>/dev/null)/ in
        */0000:00:"$SLOT"/*) interface=${path##*/} ;;
        */0000:00:*) inside=${path##*/} ;;
    esac
done
[ -n "$interface" ] || fail "the guest shows no network interface in PCI slot $SLOT"
have ip || fail "the guest has no program ip"

# Replaces a file unless it says that already; true when it did.
write() {
    mkdir -p "${1%/*}"
    cat >"$1.wardian"
    if cmp -s "$1.wardian" "$1"; then
        rm -f "$1.wardian"
        return 1
    fi
    # Into the same file: its owner, mode and label stay.
    [ -e "$1" ] || : >"$1"
    cat "$1.wardian" >"$1" && rm -f "$1.wardian"
}

hosts() {
    {
        sed '/^# Wardian: other machines$/,/^# Wardian: end$/d' /etc/hosts 2>/dev/null
        echo '# Wardian: other machines'
        printf '%s\n' "$HOSTS"
        echo '# Wardian: end'
    } | write /etc/hosts
}

# Names are said and asked for inside; on the lab network they would be those of every clone.
quiet() {
    if active systemd-networkd; then
        write /etc/systemd/network/05-wardian-second.network <<END && networkctl reload 2>/dev/null
[Match]
Path=pci-0000:00:$SLOT virtio-pci-0000:00:$SLOT

[Network]
DHCP=ipv4
LLMNR=no
MulticastDNS=no
LinkLocalAddressing=no
IPv6AcceptRA=no

[DHCPv4]
ClientIdentifier=mac
UseDNS=no
UseDomains=no
UseHostname=no
SendHostname=no
END
    elif active NetworkManager && have nmcli; then
        profile=/etc/NetworkManager/system-connections/wardian-second.nmconnection
        write $profile <<END && chmod 600 $profile && nmcli connection reload
[connection]
id=wardian-second
type=ethernet
autoconnect-priority=100
llmnr=0
mdns=0

[match]
path=pci-0000:00:$SLOT;virtio-pci-0000:00:$SLOT;

[ipv4]
method=auto
ignore-auto-dns=true
dhcp-send-hostname=false

[ipv6]
method=disabled
END
    fi
    if active systemd-resolved && have resolvectl; then
        resolvectl llmnr "$interface" no
        resolvectl mdns "$interface" no
    fi 2>/dev/null
    if [ -f /etc/avahi/avahi-daemon.conf ] && ! grep -q "^deny-interfaces=.*$interface" /etc/avahi/avahi-daemon.conf; then
        sed "s/^\[server\]$/&\ndeny-interfaces=$interface/" /etc/avahi/avahi-daemon.conf | write /etc/avahi/avahi-daemon.conf
        have systemctl && systemctl try-restart avahi-daemon 2>/dev/null
    fi
    if [ -f /etc/samba/smb.conf ] && [ -n "$inside" ]; then
        write /etc/samba/wardian-second.conf <<END
# NetBIOS names are said on these; files are served everywhere.
interfaces = lo $inside
bind interfaces only = no
END
        if ! grep -q wardian-second.conf /etc/samba/smb.conf; then
            sed 's|^\[global\]$|&\n   include = /etc/samba/wardian-second.conf|' /etc/samba/smb.conf | write /etc/samba/smb.conf
            have systemctl && systemctl try-restart nmbd 2>/dev/null
        fi
    fi
    true
}

addresses() { ip -4 addr show dev "$interface" | sed -n 's|.* inet \([0-9.]*\)/.*|\1|p'; }

identity() {
    read -r now <"/sys/class/net/$interface/address"
    for address in $(addresses); do
        [ "$address" = "$ADDRESS" ] && [ "$now" = "$MAC" ] && continue
        ip addr del "$address/$(ip -4 addr show dev "$interface" | sed -n "s|.* inet $address/\([0-9]*\).*|\1|p")" dev "$interface"
        # Who still spoke from there is told so, and nobody waits for an answer.
        have ss && ss -K src "$address" >/dev/null 2>&1
    done
    [ "$now" = "$MAC" ] && return
    ip link set dev "$interface" address "$MAC" 2>/dev/null || {
        ip link set dev "$interface" down
        ip link set dev "$interface" address "$MAC"
    }
    ip link set dev "$interface" up
    read -r now <"/sys/class/net/$interface/address"
    [ "$now" = "$MAC" ] || fail "$interface can't be given the hardware address $MAC"
}

# A client of our own, for guests that have nobody who minds interfaces.
client() {
    write /run/wardian-second <<'END'
#!/bin/sh
case $1 in
    deconfig) ip link set dev "$interface" up ;;
    bound | renew)
        ip addr show dev "$interface" | grep -q " inet $ip/" || ip addr add "$ip/$mask" brd + dev "$interface"
        [ -n "$mtu" ] && ip link set dev "$interface" mtu "$mtu"
        for gateway in $router; do
            ip route replace default via "$gateway" dev "$interface"
            break
        done
        ;;
esac
exit 0
END
    chmod 755 /run/wardian-second
    [ -s /run/wardian-second.pid ] && kill "$(cat /run/wardian-second.pid)" 2>/dev/null
    ip link set dev "$interface" up
    udhcpc -S -b -i "$interface" -t 10 -T 1 -A 5 -O mtu -p /run/wardian-second.pid -s /run/wardian-second
}

there() { addresses | grep -qxF "$ADDRESS"; }

lease() {
    if active systemd-networkd; then
        networkctl reconfigure "$interface" || networkctl renew "$interface"
    elif active NetworkManager && have nmcli; then
        nmcli --wait 20 connection up wardian-second ifname "$interface"
    elif have dhcpcd; then
        dhcpcd -n "$interface" || dhcpcd "$interface"
    elif have dhclient; then
        dhclient -r "$interface"
        dhclient -1 "$interface"
    elif have udhcpc; then
        client
    else
        ip link set dev "$interface" up
        ip addr add "$ADDRESS/$LENGTH" brd + dev "$interface"
        ip route replace default via "$ROUTER" dev "$interface"
    fi </dev/null >/dev/null 2>&1
    tries=0
    until there; do
        tries=$((tries + 1))
        [ "$tries" -le 150 ] || fail "$interface did not get $ADDRESS by DHCP"
        sleep 0.1 2>/dev/null || sleep 1
    done
}

case $1 in
    prepare)
        hosts
        quiet
        identity
        ;;
    lease) lease ;;
esac
exit 0
