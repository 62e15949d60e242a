/* How frames are laid out, and the pieces of work that need no tables. */
#pragma once

#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMP_DEST_UNREACH 3
#define ICMP_FRAG_NEEDED 4
#define ARPHRD_ETHER 1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY 2
#define GRE_KEY 0x2000
#define VXLAN_PORT 4789
#define VXLAN_VNI_FLAG 0x08000000
#define IP_DONT_FRAGMENT 0x4000
#define IP_MORE_FRAGMENTS 0x2000
#define IP_OFFSET 0x1fff
#define VLAN_NUMBER 0x0fff

struct arp {
	__be16 hardware, protocol;
	__u8 hardware_length, protocol_length;
	__be16 operation;
	__u8 sender[6], sender_address[4], target[6], target_address[4];
} __attribute__((packed));

struct arp_frame {
	struct ethhdr ether;
	struct arp arp;
} __attribute__((packed));

struct ip_frame {
	struct ethhdr ether;
	struct iphdr ip;
} __attribute__((packed));

struct icmp {
	__u8 type, code;
	__u16 checksum;
	__be16 unused, mtu;
};

struct gre {
	__be16 flags, protocol;
	__be32 key;
};

struct vxlan {
	__be32 flags, vni;
};

struct udp_vxlan {
	struct udphdr udp;
	struct vxlan vxlan;
};

struct outer_frame {
	struct ethhdr ether;
	struct iphdr ip;
} __attribute__((packed));

struct nvgre_envelope {
	struct ethhdr ether;
	struct iphdr ip;
	struct gre gre;
	struct ethhdr inner;
} __attribute__((packed));

struct vxlan_envelope {
	struct ethhdr ether;
	struct iphdr ip;
	struct udphdr udp;
	struct vxlan vxlan;
	struct ethhdr inner;
} __attribute__((packed));

#define NVGRE_ROOM ((__s32)(sizeof(struct nvgre_envelope) - ETH_HLEN))
#define VXLAN_ROOM ((__s32)(sizeof(struct vxlan_envelope) - ETH_HLEN))

/* Over an IPv4 header without options, whose own checksum is 0 (RFC 1071). */
static __always_inline __u16 checksum(const struct iphdr *ip)
{
	const __u16 *words = (const void *)ip;
	__u32 sum = 0;
#pragma unroll
	for (int i = 0; i < (int)sizeof(*ip) / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline struct iphdr header(__u8 protocol, __be32 from, __be32 to, __u32 length)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.ttl = 64,
		.protocol = protocol,
		.tot_len = bpf_htons(length),
		/* An envelope is never cut into pieces (RFC 7637, section 4.4). */
		.frag_off = bpf_htons(IP_DONT_FRAGMENT),
		.saddr = from,
		.daddr = to,
	};
	ip.check = checksum(&ip);
	return ip;
}

/* Sends an envelope to another host than it was made for. */
static __always_inline int readdress(struct __sk_buff *skb, __be32 here, __be32 to)
{
	struct iphdr ip;
	if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr), &ip, sizeof(ip)))
		return -1;
	ip = header(ip.protocol, here, to, bpf_ntohs(ip.tot_len));
	return bpf_skb_store_bytes(skb, sizeof(struct ethhdr), &ip, sizeof(ip), 0);
}

/* A copy of an envelope out of a device. Its next hop's hardware address must be known: who is not is not asked for here,
 * and the copy is lost, as broadcasts may be. */
static __always_inline void send_copy(struct __sk_buff *skb, __u32 underlay, __be32 here, __be32 to)
{
	struct bpf_fib_lookup hop = { .family = 2, .ifindex = underlay, .ipv4_src = here, .ipv4_dst = to };
	if (bpf_fib_lookup(skb, &hop, sizeof(hop), BPF_FIB_LOOKUP_OUTPUT) != BPF_FIB_LKUP_RET_SUCCESS)
		return;
	struct ethhdr ether = { .h_proto = bpf_htons(ETH_P_IP) };
	__builtin_memcpy(ether.h_dest, hop.dmac, ETH_ALEN);
	__builtin_memcpy(ether.h_source, hop.smac, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, &ether, sizeof(ether), 0))
		return;
	bpf_clone_redirect(skb, hop.ifindex, 0);
}

/* What an error quotes: the header, and what is behind it up to the end of TCP's checksum. The kernel lets nothing be cut off
 * that it still has a checksum to write in. */
#define QUOTED (sizeof(struct iphdr) + 18)

/* A quoted TCP header's checksum may still be written by whoever sends the error on, after the error's own sum was made. So
 * it becomes 0, and the window what makes the sum over the quoted part 0: what is written then is 0 again. */
static __always_inline void balance(__be16 *tcp)
{
	__u32 sum = 0;
	tcp[7] = tcp[8] = 0;
#pragma unroll
	for (int i = 0; i < 7; i++)
		sum += tcp[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	tcp[7] = ~sum;
}

/* The longest IP packet of a frame: segments that the kernel will cut are as long as it will cut them. */
static __always_inline __u32 longest(struct __sk_buff *skb, struct ip_frame *frame)
{
	__u8 words;
	__u32 before = frame->ip.ihl * 4;
	if (!skb->gso_size)
		return skb->len - ETH_HLEN;
	if (frame->ip.protocol != IPPROTO_TCP)
		return before + sizeof(struct udphdr) + skb->gso_size;
	if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr) + before + 12, &words, 1))
		return skb->len - ETH_HLEN;
	return before + (words >> 4) * 4 + skb->gso_size;
}

/* Turns a packet that does not fit into the answer that says so (RFC 1191), for its sender. It comes from the receiver's
 * address, as if that were a router: any host of the subnet is next to the sender, and accepts it. */
static __always_inline int too_big(struct __sk_buff *skb, __u16 mtu)
{
	struct {
		struct ethhdr ether;
		struct iphdr ip;
		struct icmp icmp;
	} __attribute__((packed)) answer = {};
	struct ip_frame old;
	if (bpf_skb_load_bytes(skb, 0, &old, sizeof(old)))
		return -1;
	if (old.ip.ihl != 5 || !(old.ip.frag_off & bpf_htons(IP_DONT_FRAGMENT)))
		return -1;
	/* An error is never answered with another (RFC 1122, section 3.2.2). */
	__u8 type;
	if (old.ip.protocol == IPPROTO_ICMP &&
	    (bpf_skb_load_bytes(skb, sizeof(old), &type, 1) || (type != ICMP_ECHO && type != ICMP_ECHO_REPLY)))
		return -1;
	if (bpf_skb_change_tail(skb, sizeof(struct ethhdr) + QUOTED, 0))
		return -1;
	if (bpf_skb_adjust_room(skb, sizeof(struct iphdr) + sizeof(struct icmp), BPF_ADJ_ROOM_MAC, 0))
		return -1;
	__builtin_memcpy(answer.ether.h_dest, old.ether.h_source, ETH_ALEN);
	__builtin_memcpy(answer.ether.h_source, old.ether.h_dest, ETH_ALEN);
	answer.ether.h_proto = bpf_htons(ETH_P_IP);
	answer.ip = header(IPPROTO_ICMP, old.ip.daddr, old.ip.saddr,
			   sizeof(struct iphdr) + sizeof(struct icmp) + QUOTED);
	struct icmp icmp = { .type = ICMP_DEST_UNREACH, .code = ICMP_FRAG_NEEDED, .mtu = bpf_htons(mtu) };
	__be16 data[QUOTED / 2 + 1] __attribute__((aligned(4))) = {};
	const __u32 at = sizeof(answer);
	if (bpf_skb_load_bytes(skb, at, data, QUOTED))
		return -1;
	if (old.ip.protocol == IPPROTO_TCP) {
		balance(data + sizeof(struct iphdr) / 2);
		if (bpf_skb_store_bytes(skb, at, data, QUOTED, 0))
			return -1;
	}
	__s64 sum = bpf_csum_diff(0, 0, (__be32 *)&icmp, sizeof(icmp), 0);
	sum = bpf_csum_diff(0, 0, (__be32 *)data, sizeof(data), sum);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	icmp.checksum = ~sum;
	answer.icmp = icmp;
	return bpf_skb_store_bytes(skb, 0, &answer, sizeof(answer), 0);
}
