"""A host of a virtual subnet, and a machine, made of scapy: builds envelopes and takes them apart by its own reading of RFC
7637 (NVGRE) and RFC 7348 (VXLAN). Nothing in it is from the filter.

    scapy_peer.py host ORDERS      in a host's namespace: sends what ORDERS say, tells what arrives
    scapy_peer.py machine ORDERS   in a guest's: sends frames of several flows, tells what they were

ORDERS are JSON; what is told is JSON, one line for each frame.
"""

import json
import socket
import sys
import time

from scapy.all import GRE, ICMP, IP, UDP, VXLAN, Ether, Raw, raw

DEVICE = "eth0"
ALL_PROTOCOLS = 3


def opened():
    device = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    device.bind((DEVICE, 0))
    return device


def tell(**what):
    print(json.dumps(what), flush=True)


def envelope(orders, inner, **changes):
    """An envelope around a frame, with some of its fields as `changes` say."""
    ends = Ether(src=orders["own-mac"], dst=orders["host-mac"]) / IP(src=orders["own"], dst=orders["host"], flags="DF")
    vsid = changes.pop("vsid", orders["vsid"])
    if orders["encapsulation"] == "nvgre":
        fields = {"key_present": 1, "proto": 0x6558, "key": vsid << 8 | 0x2A}
        return ends / GRE(**{**fields, **changes}) / inner
    return ends / UDP(sport=50000, dport=4789, chksum=0) / VXLAN(**{"vni": vsid, "flags": 8, **changes}) / inner


def request(orders):
    """A ping from the machine that is on this host."""
    ends = Ether(src=orders["machine-mac"], dst=orders["guest-mac"])
    return ends / IP(src=orders["machine"], dst=orders["guest"]) / ICMP(type=8, id=7, seq=1) / Raw(b"from scapy")


def take_apart(frame):
    """All fields of an envelope and what is in it, or nothing for another frame."""
    outer = Ether(frame)
    if IP not in outer or not (GRE in outer or VXLAN in outer):
        return None
    ip = outer[IP]
    again = ip.copy()
    del again.chksum
    fields = {
        "from": ip.src,
        "to": ip.dst,
        "version": ip.version,
        "header-words": ip.ihl,
        "length-is-right": ip.len == len(frame) - 14,
        "may-be-cut": "DF" not in ip.flags,
        "offset": ip.frag,
        "checksum-is-right": IP(raw(again)).chksum == ip.chksum,
        "protocol": ip.proto,
    }
    if GRE in outer:
        gre = outer[GRE]
        bits = ("chksum_present", "routing_present", "seqnum_present", "strict_route_source", "recursion_control", "flags")
        fields["other-bits"] = sum(getattr(gre, bit) for bit in bits)
        fields.update(key=gre.key_present, gre_version=gre.version, type=gre.proto, vsid=gre.key >> 8, flow=gre.key & 0xFF)
        inner = gre.payload
    else:
        udp, vxlan = outer[UDP], outer[VXLAN]
        fields["udp-length-is-right"] = udp.len == ip.len - 20
        fields.update(port=udp.dport, sum=udp.chksum, flow=udp.sport, flags=int(vxlan.flags), vsid=vxlan.vni)
        fields["other-bits"] = int(vxlan.reserved1 or 0) + int(vxlan.reserved2)
        inner = vxlan.payload
    # As it is on the wire, and what scapy takes it for.
    fields["inner"] = frame[len(frame) - len(inner.original) :].hex()
    fields["layers"] = [layer.__name__ for layer in inner.layers()]
    return fields


def arriving(device, orders, seconds):
    """Envelopes for this host."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        device.settimeout(left)
        try:
            frame = device.recv(65535)
        except TimeoutError:
            return
        fields = take_apart(frame)
        if fields and fields["to"] == orders["own"]:
            yield fields


def host(orders):
    device = opened()
    tell(ready=True)
    for changes in orders.get("wrong", []):
        device.send(raw(envelope(orders, request(orders), **changes)))
    if orders.get("ping"):
        device.send(raw(envelope(orders, request(orders))))
    count = orders.get("count", 0)
    for fields in arriving(device, orders, orders.get("seconds", 20)):
        # Other frames of the guest's own system, such as for groups, are not what was asked for.
        if fields["layers"][1:2] != ["IP"] or fields["layers"][2] != orders["of"]:
            continue
        tell(**fields)
        count -= 1
        if count == 0:
            return


def machine(orders):
    device = opened()
    for port in range(orders["flows"]):
        for number in range(orders["each"]):
            ends = Ether(src=orders["guest-mac"], dst=orders["machine-mac"]) / IP(src=orders["guest"], dst=orders["machine"])
            frame = raw(ends / UDP(sport=20000 + port, dport=9) / Raw(bytes([port, number]) * 40))
            device.send(frame)
            tell(flow=port, frame=frame.hex())


{"host": host, "machine": machine}[sys.argv[1]](json.loads(sys.argv[2]))
