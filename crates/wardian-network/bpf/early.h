/* Envelopes taken off by the device's driver (XDP), before the kernel joins packets of one stream: then it joins those of
 * machines, which is worth more than all else where a device cuts streams into packets, and marks none as a tunnel's, so
 * that taps take them whole.
 *
 * Nothing is decided here. What was in an envelope travels on with a note before it, of whose it claims to be: packets
 * with different notes are never joined, and `arrive` judges what it finds by the note as it judges envelopes. */
#pragma once

/* What is behind a note: nothing was taken off where the subnet's number is 0. */
struct note {
	__u32 vsid;
	__be32 sender;
	__u32 encapsulation;
};

/* Writes the note, for which there is room. */
static __always_inline void write_note(struct xdp_md *ctx, struct note *note)
{
	struct note *to = (void *)(long)ctx->data_meta;
	if ((void *)(to + 1) <= (void *)(long)ctx->data)
		*to = *note;
}

/* How many bytes lie before the inner frame, if it is a packet for one machine: all else is left to `arrive`, which counts
 * what it drops. */
static __always_inline __u32 open_envelope(void *data, void *end, struct note *note)
{
	struct ip_frame *outer = data;
	if ((void *)(outer + 1) > end || outer->ether.h_proto != bpf_htons(ETH_P_IP) || outer->ip.version != 4 ||
	    outer->ip.ihl != 5 || outer->ip.frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET))
		return 0;
	__u32 length;
	struct ethhdr *inner;
	if (outer->ip.protocol == IPPROTO_GRE) {
		struct nvgre_envelope *envelope = data;
		if ((void *)(envelope + 1) > end || envelope->gre.flags != bpf_htons(GRE_KEY) ||
		    envelope->gre.protocol != bpf_htons(ETH_P_TEB))
			return 0;
		note->vsid = bpf_ntohl(envelope->gre.key) >> 8;
		note->encapsulation = NVGRE;
		inner = &envelope->inner;
		length = NVGRE_ROOM;
	} else if (outer->ip.protocol == IPPROTO_UDP) {
		struct vxlan_envelope *envelope = data;
		if ((void *)(envelope + 1) > end || envelope->udp.dest != bpf_htons(VXLAN_PORT) ||
		    envelope->vxlan.flags != bpf_htonl(VXLAN_VNI_FLAG))
			return 0;
		note->vsid = bpf_ntohl(envelope->vxlan.vni) >> 8;
		note->encapsulation = VXLAN;
		inner = &envelope->inner;
		length = VXLAN_ROOM;
	} else {
		return 0;
	}
	__be32 to = outer->ip.daddr;
	if (!note->vsid || inner->h_proto != bpf_htons(ETH_P_IP) || inner->h_dest[0] & 1 || !bpf_map_lookup_elem(&own, &to))
		return 0;
	note->sender = outer->ip.saddr;
	return length;
}

SEC("xdp.frags")
int early(struct xdp_md *ctx)
{
	struct note note = {};
	/* Before every packet: none passes with what somebody else has noted. Drivers that know no notes leave all to `arrive`. */
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(note)))
		return XDP_PASS;
	__u32 length = open_envelope((void *)(long)ctx->data, (void *)(long)ctx->data_end, &note);
	if (!length || bpf_xdp_adjust_head(ctx, length))
		note = (struct note){};
	write_note(ctx, &note);
	return XDP_PASS;
}

/* The note before a packet, where a device has such a program; 0 when there is none. */
static __always_inline int read_note(struct __sk_buff *skb, struct note *note)
{
	struct note *found = (void *)(long)skb->data_meta;
	if ((void *)(found + 1) > (void *)(long)skb->data)
		return 0;
	__u32 device = skb->ifindex;
	struct face *face = bpf_map_lookup_elem(&faces, &device);
	if (!face || !face->early)
		return 0;
	*note = *found;
	return note->vsid != 0;
}
