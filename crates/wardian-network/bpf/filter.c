/* The filter: under the switches of one host, between them and the physical network.
 *
 * `leave` sits where frames come out of a switch: it answers ARP, and sends each frame to the host its receiver is on, in
 * an envelope (NVGRE, RFC 7637; VXLAN, RFC 7348), or with other addresses (IP rewrite). `arrive` sits where these come in:
 * it makes frames of them again where the tables allow it, and gives them to the switch; some devices' drivers have taken
 * the envelopes off before (`early`). What is not ours goes on as if there were no filter.
 *
 * IPv4 and ARP only: nothing else is carried between hosts. */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <linux/pkt_cls.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tables.h"
#include "frames.h"
#include "rewrite.h"
#include "early.h"

/* The next program at the same place, or the kernel itself (TCX_NEXT). */
#define NOT_OURS (-1)

static __always_inline int drop(__u32 reason)
{
	__u64 *count = bpf_map_lookup_elem(&drops, &reason);
	if (count)
		*count += 1;
	return TC_ACT_SHOT;
}

static __always_inline struct carried *carried(__u32 vsid)
{
	struct carried *sum = bpf_map_lookup_elem(&traffic, &vsid);
	if (sum)
		return sum;
	struct carried none = {};
	bpf_map_update_elem(&traffic, &vsid, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&traffic, &vsid);
}

/* Frames are counted as machines see them. */
static __always_inline void sent(__u32 vsid, __u32 length)
{
	struct carried *sum = carried(vsid);
	if (sum) {
		sum->packets_out += 1;
		sum->bytes_out += length;
	}
}

static __always_inline void received(__u32 vsid, __u32 length)
{
	struct carried *sum = carried(vsid);
	if (sum) {
		sum->packets_in += 1;
		sum->bytes_in += length;
	}
}

/* The gateway's address in hardware is the same on every host, so frames that a host has routed come from it, whoever of
 * them has the way out: to that one the tables lead. */
static const __u8 gateway[ETH_ALEN] = { 0x02, 0x57, 0x7f, 0xff, 0xff, 0xff };

static __always_inline int are_same(const __u8 *one, const __u8 *other)
{
	/* One by one: clang would call a function that is not there. */
	int same = 1;
#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		same &= one[i] == other[i];
	return same;
}

/* The provider address of the host where a hardware address is. */
static __always_inline __be32 *host_of(__u32 vsid, const __u8 *mac)
{
	struct station_key key = { .vsid = vsid };
	__builtin_memcpy(key.mac, mac, ETH_ALEN);
	return bpf_map_lookup_elem(&stations, &key);
}

/* Whether a machine on that host has both addresses; one hardware address may have many. */
static __always_inline int has_address(__u32 vsid, const __u8 *mac, __be32 address, __be32 provider)
{
	struct address_key key = { .vsid = vsid, .address = address };
	struct address *found = bpf_map_lookup_elem(&addresses, &key);
	return found && found->provider == provider && are_same(found->mac, mac);
}

/* Whether somebody asks for the hardware address of an IPv4 address. */
static __always_inline int is_question(const struct arp_frame *frame)
{
	return frame->arp.hardware == bpf_htons(ARPHRD_ETHER) && frame->arp.protocol == bpf_htons(ETH_P_IP) &&
	       frame->arp.operation == bpf_htons(ARPOP_REQUEST);
}

/* Makes an answer of the question: `mac` has the address that was asked for. */
static __always_inline int answer(struct __sk_buff *skb, struct arp_frame *frame, const __u8 *mac, __be32 wanted)
{
	__builtin_memcpy(frame->ether.h_dest, frame->arp.sender, ETH_ALEN);
	__builtin_memcpy(frame->ether.h_source, mac, ETH_ALEN);
	frame->arp.operation = bpf_htons(ARPOP_REPLY);
	__builtin_memcpy(frame->arp.target, frame->arp.sender, ETH_ALEN);
	__builtin_memcpy(frame->arp.target_address, frame->arp.sender_address, 4);
	__builtin_memcpy(frame->arp.sender, mac, ETH_ALEN);
	__builtin_memcpy(frame->arp.sender_address, &wanted, 4);
	return bpf_skb_store_bytes(skb, 0, frame, sizeof(*frame), 0);
}

/* Answers from the table, for machines on other hosts; those here answer themselves, and nobody answers for others. */
static __always_inline int answer_arp(struct __sk_buff *skb, struct port *port)
{
	struct arp_frame frame;
	if (bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame)))
		return drop(MALFORMED);
	if (!is_question(&frame))
		return TC_ACT_SHOT;
	struct address_key key = { .vsid = port->vsid };
	__builtin_memcpy(&key.address, frame.arp.target_address, 4);
	struct address *found = bpf_map_lookup_elem(&addresses, &key);
	if (!found || found->provider == port->here)
		return TC_ACT_SHOT;
	return answer(skb, &frame, found->mac, key.address) ? drop(MALFORMED) : bpf_redirect(skb->ifindex, 0);
}

/* Makes room for an envelope. A frame that came in one, and was routed here, is still marked so, and the kernel marks none twice:
 * what it noted of the inner packet then is right again, for it hasn't moved since. */
static __always_inline int make_room(struct __sk_buff *skb, __s32 room, __u64 flags)
{
	long failed = bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, flags);
	if (failed == -EALREADY)
		failed = bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
	return failed ? -1 : 0;
}

/* Puts the frame into an envelope for another host; its hardware addresses are left to whoever sends it. */
static __always_inline int wrap(struct __sk_buff *skb, struct port *port, __be32 to)
{
	__u32 flow = bpf_get_hash_recalc(skb);
	__u32 length = skb->len;
	struct ethhdr inner;
	if (bpf_skb_load_bytes(skb, 0, &inner, sizeof(inner)))
		return -1;
	if (port->encapsulation != VXLAN) {
		struct nvgre_envelope envelope = { .ether.h_proto = bpf_htons(ETH_P_IP) };
		__u64 flags = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_GRE |
			      BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH |
			      BPF_F_ADJ_ROOM_FIXED_GSO;
		if (make_room(skb, NVGRE_ROOM, flags))
			return -1;
		envelope.ip = header(IPPROTO_GRE, port->here, to, length + NVGRE_ROOM - ETH_HLEN);
		envelope.gre.flags = bpf_htons(GRE_KEY);
		envelope.gre.protocol = bpf_htons(ETH_P_TEB);
		envelope.gre.key = bpf_htonl(port->vsid << 8 | (flow & 0xff));
		envelope.inner = inner;
		return bpf_skb_store_bytes(skb, 0, &envelope, sizeof(envelope), BPF_F_INVALIDATE_HASH);
	}
	struct vxlan_envelope envelope = { .ether.h_proto = bpf_htons(ETH_P_IP) };
	__u64 flags = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) |
		      BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_FIXED_GSO;
	if (make_room(skb, VXLAN_ROOM, flags))
		return -1;
	envelope.ip = header(IPPROTO_UDP, port->here, to, length + VXLAN_ROOM - ETH_HLEN);
	/* The range RFC 7348 advises, so that routers spread flows over their links. */
	envelope.udp.source = bpf_htons(49152 + (flow & 0x3fff));
	envelope.udp.dest = bpf_htons(VXLAN_PORT);
	envelope.udp.len = bpf_htons(length + VXLAN_ROOM - ETH_HLEN - sizeof(struct iphdr));
	envelope.vxlan.flags = bpf_htonl(VXLAN_VNI_FLAG);
	envelope.vxlan.vni = bpf_htonl(port->vsid << 8);
	envelope.inner = inner;
	return bpf_skb_store_bytes(skb, 0, &envelope, sizeof(envelope), BPF_F_INVALIDATE_HASH);
}

/* A broadcast goes to every other host that has a switch of the subnet, as a frame of its own. */
static __always_inline int flood(struct __sk_buff *skb, struct port *port)
{
	__u32 vsid = port->vsid;
	struct flood *to = bpf_map_lookup_elem(&floods, &vsid);
	if (!to || to->count == 0)
		return TC_ACT_SHOT;
	if (wrap(skb, port, to->providers[0]))
		return drop(MALFORMED);
	for (__u32 i = 1; i < MOST_FLOODED; i++) {
		if (i >= to->count)
			break;
		if (readdress(skb, port->here, to->providers[i]))
			break;
		send_copy(skb, port->underlay, port->here, to->providers[i]);
	}
	if (readdress(skb, port->here, to->providers[0]))
		return drop(MALFORMED);
	return bpf_redirect_neigh(port->underlay, NULL, 0, 0);
}

/* Where addresses are rewritten: whether the frame is one machine's here to one elsewhere, each with a provider
 * address of its own, which are put into `pair`. It arrives there as if it had come in an envelope, but for the hops
 * that routers on the way have counted: what has few left is not sent so. */
static __always_inline int is_between_two(struct port *port, struct ip_frame *frame, __be32 *pair)
{
	if (frame->ip.ttl < FEW_HOPS)
		return 0;
	pair[0] = outside_of(port->domain, frame->ip.saddr);
	pair[1] = outside_of(port->domain, frame->ip.daddr);
	struct owner *from = bpf_map_lookup_elem(&owners, &pair[0]);
	struct owner *to = bpf_map_lookup_elem(&owners, &pair[1]);
	return from && to && from->provider == port->here && to->provider != port->here && to->vsid == port->vsid &&
	       are_same(to->mac, frame->ether.h_dest);
}

SEC("classifier")
int leave(struct __sk_buff *skb)
{
	__u32 device = skb->ifindex;
	struct port *port = bpf_map_lookup_elem(&ports, &device);
	if (!port)
		return drop(NO_PORT);
	if (skb->vlan_present)
		return drop(TAGGED);
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return answer_arp(skb, port);
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return drop(NOT_IPV4);
	if (bpf_skb_pull_data(skb, sizeof(struct ethhdr) + sizeof(struct iphdr)))
		return drop(MALFORMED);
	struct ip_frame *frame = (void *)(long)skb->data;
	if ((void *)(frame + 1) > (void *)(long)skb->data_end)
		return drop(MALFORMED);
	if (frame->ip.version != 4 || frame->ip.ihl < 5)
		return drop(MALFORMED);
	__u32 vsid = port->vsid;
	/* Only machines of this host speak here, each as itself; and the gateway, for what it has routed. */
	int routed = are_same(frame->ether.h_source, gateway);
	__be32 *from = host_of(vsid, frame->ether.h_source);
	if (!routed && (!from || *from != port->here))
		return drop(FORGED_MAC);
	/* Who has no address yet asks its own host for one. */
	if (!frame->ip.saddr)
		return drop(NOT_CARRIED);
	if (!routed && !has_address(vsid, frame->ether.h_source, frame->ip.saddr, port->here))
		return drop(FORGED_ADDRESS);
	__u32 length = skb->len;
	if (frame->ether.h_dest[0] & 1) {
		/* What was routed is for one; what a gateway says to all, such as an offered address, is for its own host. */
		if (routed)
			return drop(NOT_CARRIED);
		if (length - ETH_HLEN > port->mtu)
			return drop(TOO_BIG);
		sent(vsid, length);
		return flood(skb, port);
	}
	__be32 *to = host_of(vsid, frame->ether.h_dest);
	if (!to || *to == port->here)
		return drop(UNKNOWN_DESTINATION);
	__be32 provider = *to;
	__be32 pair[2] = {};
	int between_two = port->encapsulation == IP_REWRITE && is_between_two(port, frame, pair);
	if (longest(skb, frame) > port->mtu)
		return too_big(skb, port->mtu) ? drop(TOO_BIG) : bpf_redirect(skb->ifindex, 0);
	int failed = between_two ? rewrite(skb, port->domain, pair[0], pair[1], OUT, NULL) : 1;
	if (failed < 0 || (failed > 0 && wrap(skb, port, provider)))
		return drop(MALFORMED);
	sent(vsid, length);
	return bpf_redirect_neigh(port->underlay, NULL, 0, 0);
}

/* The way to the switch of a subnet, for what came so; if there is none, the frame is dropped, and counted here. */
static __always_inline struct port *port_of(__u32 vsid, __u8 encapsulation, __u32 *device)
{
	__u32 *found = bpf_map_lookup_elem(&switches, &vsid);
	if (!found) {
		drop(NO_SWITCH);
		return NULL;
	}
	*device = *found;
	struct port *port = bpf_map_lookup_elem(&ports, device);
	if (!port) {
		drop(NO_PORT);
		return NULL;
	}
	/* What can't be said by other addresses comes in NVGRE. */
	if (port->encapsulation != encapsulation && !(port->encapsulation == IP_REWRITE && encapsulation == NVGRE)) {
		drop(WRONG_ENCAPSULATION);
		return NULL;
	}
	return port;
}

/* Takes a frame out of its envelope of `outer` bytes, if the tables allow it from that host. */
static __always_inline int unwrap(struct __sk_buff *skb, __be32 sender, __u32 vsid, __u32 outer, __u8 encapsulation)
{
	__u32 device;
	struct port *port = port_of(vsid, encapsulation, &device);
	if (!port)
		return TC_ACT_SHOT;
	struct peer_key peer = { .vsid = vsid, .provider = sender };
	if (!bpf_map_lookup_elem(&peers, &peer))
		return drop(UNKNOWN_SENDER);
	struct ip_frame inner;
	if (bpf_skb_load_bytes(skb, outer, &inner, sizeof(inner)))
		return drop(MALFORMED);
	if (inner.ether.h_proto == bpf_htons(ETH_P_8021Q) || inner.ether.h_proto == bpf_htons(ETH_P_8021AD))
		return drop(TAGGED);
	if (inner.ether.h_proto != bpf_htons(ETH_P_IP))
		return drop(NOT_IPV4);
	if (inner.ip.version != 4 || inner.ip.ihl < 5)
		return drop(MALFORMED);
	int routed = are_same(inner.ether.h_source, gateway);
	__be32 *from = host_of(vsid, inner.ether.h_source);
	if (!routed && (!from || *from != sender))
		return drop(FORGED_MAC);
	if (!routed && !has_address(vsid, inner.ether.h_source, inner.ip.saddr, sender))
		return drop(FORGED_ADDRESS);
	if (inner.ether.h_dest[0] & 1) {
		if (routed)
			return drop(NOT_CARRIED);
	} else {
		__be32 *to = host_of(vsid, inner.ether.h_dest);
		if (!to || *to != port->here)
			return drop(UNKNOWN_DESTINATION);
	}
	if (outer) {
		/* What is taken away lies between the outer hardware addresses and the inner packet. */
		if (bpf_skb_adjust_room(skb, -(__s32)outer, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
			return drop(MALFORMED);
		if (bpf_skb_store_bytes(skb, 0, &inner.ether, sizeof(inner.ether), BPF_F_INVALIDATE_HASH))
			return drop(MALFORMED);
	} else {
		/* What the device says of checksum and flow, it says of the envelope. */
		bpf_csum_level(skb, BPF_CSUM_LEVEL_RESET);
		bpf_set_hash_invalid(skb);
	}
	received(vsid, skb->len);
	return bpf_redirect(device, 0);
}

/* A packet for the provider address of a machine that is here. */
static __always_inline int give_back(struct __sk_buff *skb, struct owner *to, __be32 receiver, __be32 sender)
{
	struct owner *from = bpf_map_lookup_elem(&owners, &sender);
	if (!from)
		from = receiver_in_error(skb, receiver);
	if (!from || from->domain != to->domain)
		return drop(UNKNOWN_SENDER);
	__u32 vsid = to->vsid;
	__u32 device;
	struct port *port = port_of(vsid, IP_REWRITE, &device);
	if (!port)
		return TC_ACT_SHOT;
	/* Who runs here does not come from elsewhere, and who runs elsewhere is not reached here. */
	if (from->provider == port->here)
		return drop(FORGED_ADDRESS);
	if (to->provider != port->here)
		return drop(UNKNOWN_DESTINATION);
	struct ethhdr ether = { .h_proto = bpf_htons(ETH_P_IP) };
	__builtin_memcpy(ether.h_dest, to->mac, ETH_ALEN);
	if (from->vsid == vsid)
		__builtin_memcpy(ether.h_source, from->mac, ETH_ALEN);
	else
		__builtin_memcpy(ether.h_source, gateway, ETH_ALEN);
	if (rewrite(skb, to->domain, from->address, to->address, IN, &ether))
		return drop(MALFORMED);
	received(vsid, skb->len);
	return bpf_redirect(device, 0);
}

/* Who asks in the physical network for the provider address of a machine that is here gets the device's hardware
 * address: the kernel doesn't know of these addresses, so that nothing of the host ever answers at one. */
static __always_inline int answer_for_machines(struct __sk_buff *skb)
{
	__u32 device = skb->ifindex;
	struct face *face = bpf_map_lookup_elem(&faces, &device);
	struct arp_frame frame;
	if (!face || bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame)) || !is_question(&frame))
		return NOT_OURS;
	__be32 wanted;
	__builtin_memcpy(&wanted, frame.arp.target_address, 4);
	struct owner *owner = bpf_map_lookup_elem(&owners, &wanted);
	if (!owner || !bpf_map_lookup_elem(&own, &owner->provider))
		return NOT_OURS;
	return answer(skb, &frame, face->mac, wanted) ? NOT_OURS : bpf_redirect(device, 0);
}

/* Nothing here writes to a packet but by helpers: else the kernel would copy it at the beginning where somebody else looks
 * at it too, as tcpdump does, and the note would be lost. */
SEC("classifier")
int arrive(struct __sk_buff *skb)
{
	struct outer_frame outer;
	struct note note;
	int noted = read_note(skb, &note);
	if (skb->vlan_present) {
		/* Of another network of the same wire. Number 0 is none: such a tag tells a priority only, on the wire. */
		if (skb->vlan_tci & VLAN_NUMBER)
			return noted ? drop(TAGGED) : NOT_OURS;
		if (bpf_skb_vlan_pop(skb))
			return drop(MALFORMED);
	}
	if (noted)
		return unwrap(skb, note.sender, note.vsid, 0, note.encapsulation);
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return answer_for_machines(skb);
	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, 0, &outer, sizeof(outer.ether) + sizeof(outer.ip)))
		return NOT_OURS;
	if (outer.ip.version != 4)
		return NOT_OURS;
	__be32 to = outer.ip.daddr;
	struct owner *owner = bpf_map_lookup_elem(&owners, &to);
	if (owner)
		return give_back(skb, owner, to, outer.ip.saddr);
	if (outer.ip.protocol != IPPROTO_GRE && outer.ip.protocol != IPPROTO_UDP)
		return NOT_OURS;
	if (!bpf_map_lookup_elem(&own, &to))
		return NOT_OURS;
	/* Envelopes are never cut into pieces, and carry no options. */
	if (outer.ip.ihl != 5 || outer.ip.frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET))
		return NOT_OURS;
	__u32 at = sizeof(struct ethhdr) + sizeof(struct iphdr);
	if (outer.ip.protocol == IPPROTO_GRE) {
		struct gre gre;
		if (bpf_skb_load_bytes(skb, at, &gre, sizeof(gre)))
			return NOT_OURS;
		/* Other kinds of GRE tunnels may end at this host too. NVGRE has a key, and neither checksum nor sequence number
		 * nor another version (RFC 7637, section 3.2). */
		if (!(gre.flags & bpf_htons(GRE_KEY)) || gre.protocol != bpf_htons(ETH_P_TEB))
			return NOT_OURS;
		if (gre.flags != bpf_htons(GRE_KEY))
			return drop(MALFORMED);
		return unwrap(skb, outer.ip.saddr, bpf_ntohl(gre.key) >> 8, at + sizeof(gre), NVGRE);
	}
	struct udp_vxlan both;
	if (bpf_skb_load_bytes(skb, at, &both, sizeof(both)) || both.udp.dest != bpf_htons(VXLAN_PORT))
		return NOT_OURS;
	if (both.vxlan.flags != bpf_htonl(VXLAN_VNI_FLAG))
		return drop(MALFORMED);
	return unwrap(skb, outer.ip.saddr, bpf_ntohl(both.vxlan.vni) >> 8, at + sizeof(both), VXLAN);
}

/* The kernel lets only programs of such a licence ask for routes. */
char licence[] SEC("license") = "Dual MIT/GPL";
