/* IP rewrite: no envelope; each machine has a provider address of its own, which stands in the place of its customer address
 * between hosts. So travels what one machine says to another, in IPv4; the rest goes as with NVGRE. */
#pragma once

/* Who sets fewer means them, and counts on the inside alone. Systems begin with 64 or more. */
#define FEW_HOPS 32
#define ICMP_ERROR(type) ((type) == 3 || (type) == 11 || (type) == 12)
#define AT_IP sizeof(struct ethhdr)
#define AT_SOURCE (AT_IP + offsetof(struct iphdr, saddr))
#define AT_TARGET (AT_IP + offsetof(struct iphdr, daddr))
#define AT_CHECKSUM (AT_IP + offsetof(struct iphdr, check))

/* Another address at `at` in an IPv4 header whose checksum is at `sum`. Where there is one, a checksum over a pseudo header
 * that has the address too is at `transport`. */
static __always_inline int exchange(struct __sk_buff *skb, __u32 at, __u32 sum, __u32 transport, __be32 old, __be32 new)
{
	if (transport &&
	    bpf_l4_csum_replace(skb, transport, old, new, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | sizeof(old)))
		return -1;
	if (bpf_l3_csum_replace(skb, sum, old, new, sizeof(old)))
		return -1;
	return bpf_skb_store_bytes(skb, at, &new, sizeof(new), BPF_F_INVALIDATE_HASH);
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
	return bpf_skb_load_bytes(skb, at + 8, quoted, sizeof(*quoted)) ? -1 : 1;
}

static __always_inline int exchange_quoted(struct __sk_buff *skb, __u32 field, __be32 old, __be32 new)
{
	const __u32 at = AT_IP + sizeof(struct iphdr) + 8;
	return exchange(skb, at + field, at + offsetof(struct iphdr, check), 0, old, new);
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
 * addresses, inwards the reverse. More than 0, and the packet as it was, for one that can't be said so. */
static __always_inline int rewrite(struct __sk_buff *skb, __u32 domain, __be32 from, __be32 to, enum way way)
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
		if (exchange_quoted(skb, offsetof(struct iphdr, saddr), quoted.saddr, source) ||
		    exchange_quoted(skb, offsetof(struct iphdr, daddr), quoted.daddr, target))
			return -1;
	}
	__u32 transport = transport_checksum(&ip);
	if (exchange(skb, AT_SOURCE, AT_CHECKSUM, transport, ip.saddr, from))
		return -1;
	return exchange(skb, AT_TARGET, AT_CHECKSUM, transport, ip.daddr, to);
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
