/* What the filter knows, and what it counts. Laid out as in src/filter/tables.rs; numbers of the network are in its order. */
#pragma once

#define STATIONS 131072
#define SWITCHES 4096
#define PEERS 65536
#define MOST_FLOODED 32

struct port {
	__u32 vsid;
	__u32 underlay; /* index of the device towards the other hosts */
	__be32 here;    /* this host's provider address */
	__u16 mtu;      /* the largest IP packet of a guest that fits */
	__u8 encapsulation;
	__u8 unused;
	__u32 domain; /* the routing domain of the subnet */
};

struct station_key {
	__u32 vsid;
	__u8 mac[6];
	__u16 unused;
};

struct address_key {
	__u32 vsid;
	__be32 address;
};

struct address {
	__be32 provider;
	__u8 mac[6];
	__u16 unused;
};

struct peer_key {
	__u32 vsid;
	__be32 provider;
};

struct flood {
	__u32 count;
	__be32 providers[MOST_FLOODED];
};

struct carried {
	__u64 packets_out, bytes_out, packets_in, bytes_in;
};

/* Whose the provider address of one machine is (IP rewrite). */
struct owner {
	__u32 domain, vsid;
	__be32 address;
	__be32 provider;
	__u8 mac[6];
	__u16 unused;
};

struct inside_key {
	__u32 domain;
	__be32 address;
};

/* A device's own hardware address, and whether envelopes may have been taken off by its driver. */
struct face {
	__u8 mac[6];
	__u16 early;
};

enum encapsulation { NVGRE = 1, VXLAN = 2, IP_REWRITE = 3 };

enum reason {
	NO_PORT,
	NO_SWITCH,
	TAGGED,
	NOT_IPV4,
	TOO_BIG,
	FORGED_MAC,
	FORGED_ADDRESS,
	UNKNOWN_DESTINATION,
	UNKNOWN_SENDER,
	WRONG_ENCAPSULATION,
	MALFORMED,
	NOT_CARRIED,
	REASONS,
};

#define TABLE(name, kind, most, key_type, value_type)      \
	struct {                                           \
		__uint(type, kind);                        \
		__uint(max_entries, most);                 \
		__type(key, key_type);                     \
		__type(value, value_type);                 \
		__uint(pinning, LIBBPF_PIN_BY_NAME);       \
	} name SEC(".maps")

#define SPARSE_TABLE(name, most, key_type, value_type)     \
	struct {                                           \
		__uint(type, BPF_MAP_TYPE_HASH);           \
		__uint(map_flags, BPF_F_NO_PREALLOC);      \
		__uint(max_entries, most);                 \
		__type(key, key_type);                     \
		__type(value, value_type);                 \
		__uint(pinning, LIBBPF_PIN_BY_NAME);       \
	} name SEC(".maps")

SPARSE_TABLE(ports, SWITCHES, __u32, struct port);       /* by index of the device */
SPARSE_TABLE(switches, SWITCHES, __u32, __u32);          /* index of the device, by subnet */
SPARSE_TABLE(stations, STATIONS, struct station_key, __be32); /* the provider address of the host */
SPARSE_TABLE(addresses, STATIONS, struct address_key, struct address);
SPARSE_TABLE(peers, PEERS, struct peer_key, __u8);
SPARSE_TABLE(floods, SWITCHES, __u32, struct flood);
SPARSE_TABLE(owners, STATIONS, __be32, struct owner);      /* by the machine's provider address */
SPARSE_TABLE(outsides, STATIONS, struct inside_key, __be32); /* a machine's provider address */
SPARSE_TABLE(own, 64, __be32, __u8);                     /* this host's provider addresses */
SPARSE_TABLE(faces, 64, __u32, struct face);             /* by index of a device towards the other hosts */

TABLE(drops, BPF_MAP_TYPE_PERCPU_ARRAY, REASONS, __u32, __u64);
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SWITCHES);
	__type(key, __u32);
	__type(value, struct carried);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} traffic SEC(".maps");
