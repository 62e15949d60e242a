/* IP rewrite: no envelope; each machine has a provider address of its own, which stands in the place of its customer address
 * between hosts. So travels what one machine says to another, in IPv4; the rest goes as with NVGRE. */
#pragma once

/* Who sets fewer means them, and counts on the inside alone. Systems begin with 64 or more. */
#define FEW_HOPS 32
#define ICMP_ERROR(type) ((type) == 3 || (type) == 11 || (type) == 12)
#define AT_IP sizeof(struct ethhdr)
#define AT_QUOTED (AT_IP + sizeof(struct iphdr) + 8)

/* Other addresses in an IPv4 header, whose checksum stays as right as it was (RFC 1624). Tells what they add to any sum over
 * both. */
static __always_inline __u32 exchange(struct iphdr *ip, __be32 from, __be32 to)
{
	__u64 more = (__u64)(__u32)~ip->saddr + (__u32)~ip->daddr + from + to;
	more = (more & 0xffffffff) + (more >> 32);
	more = (more & 0xffffffff) + (more >> 32);
	__u32 sum = (__u16)~ip->check + ((__u32)more & 0xffff) + ((__u32)more >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
	ip->saddr = from;
	ip->daddr = to;
	return more;
}

/* Where the checksum over the pseudo header is; 0 if there is none, as in all but the first piece of a packet. */
static __always_inline __u32 transport_checksum(const struct iphdr *ip)
{
	__u32 at = AT_IP + sizeof(*ip);
	if (ip->frag_off & bpf_htons(IP_OFFSET))
		return 0;
	if (ip->protocol == IPPROTO_TCP)
		return at + 16;
	return ip->protocol == IPPROTO_UDP ? at + 6 : 0;
}

/* An ICMP error quotes the packet it is about, with the addresses that the other side knows. The sum over the error stays the
 * same: what an address adds, the quoted header's own checksum takes away. Less than 0 for one that ends before the quoted
 * addresses do: what is left of them would go on as it is. */
static __always_inline int quotes(struct __sk_buff *skb, const struct iphdr *ip, struct iphdr *quoted)
{
	__u8 type;
	const __u32 at = AT_IP + sizeof(*ip);
	if (ip->protocol != IPPROTO_ICMP || ip->frag_off & bpf_htons(IP_OFFSET) || bpf_skb_load_bytes(skb, at, &type, 1))
		return 0;
	if (!ICMP_ERROR(type))
		return 0;
	return bpf_skb_load_bytes(skb, AT_QUOTED, quoted, sizeof(*quoted)) ? -1 : 1;
}

static __always_inline __be32 outside_of(__u32 domain, __be32 address)
{
	struct inside_key key = { .domain = domain, .address = address };
	__be32 *found = bpf_map_lookup_elem(&outsides, &key);
	return found ? *found : 0;
}

static __always_inline __be32 inside_of(__u32 domain, __be32 address)
{
	struct owner *found = bpf_map_lookup_elem(&owners, &address);
	return found && found->domain == domain ? found->address : 0;
}

enum way { OUT, IN };

/* Other addresses, of sender and receiver, and in what an error quotes: outwards provider addresses for customer
 * addresses, inwards the reverse; and other hardware addresses, where they are given. More than 0, and the packet as it was,
 * for one that can't be said so. All is written at once: each call into the kernel costs as much as a look into a table. */
static __always_inline int rewrite(struct __sk_buff *skb, __u32 domain, __be32 from, __be32 to, enum way way,
				   const struct ethhdr *ether)
{
	struct iphdr ip, quoted;
	if (bpf_skb_load_bytes(skb, AT_IP, &ip, sizeof(ip)) || ip.ihl != 5)
		return 1;
	int is_error = quotes(skb, &ip, &quoted);
	if (is_error < 0)
		return 1;
	if (is_error) {
		__be32 source = way == OUT ? outside_of(domain, quoted.saddr) : inside_of(domain, quoted.saddr);
		__be32 target = way == OUT ? outside_of(domain, quoted.daddr) : inside_of(domain, quoted.daddr);
		if (!source || !target)
			return 1;
		exchange(&quoted, source, target);
		if (bpf_skb_store_bytes(skb, AT_QUOTED, &quoted, sizeof(quoted), 0))
			return -1;
	}
	__u32 transport = transport_checksum(&ip);
	__u32 more = exchange(&ip, from, to);
	if (transport && bpf_l4_csum_replace(skb, transport, 0, more, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0))
		return -1;
	if (!ether)
		return bpf_skb_store_bytes(skb, AT_IP, &ip, sizeof(ip), BPF_F_INVALIDATE_HASH);
	struct ip_frame frame = { .ether = *ether, .ip = ip };
	return bpf_skb_store_bytes(skb, 0, &frame, sizeof(frame), BPF_F_INVALIDATE_HASH);
}

/* Whose packet an error is about that a router on the way sends to the machine `to`: the receiver's. */
static __always_inline struct owner *receiver_in_error(struct __sk_buff *skb, __be32 to)
{
	struct iphdr ip, quoted;
	if (bpf_skb_load_bytes(skb, AT_IP, &ip, sizeof(ip)) || ip.ihl != 5)
		return NULL;
	if (quotes(skb, &ip, &quoted) != 1 || quoted.saddr != to)
		return NULL;
	__be32 receiver = quoted.daddr;
	return bpf_map_lookup_elem(&owners, &receiver);
}
