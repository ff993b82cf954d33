/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The few members of the network's structs that we read; see kernel.h. */
#ifndef KWITNESS_KERNEL_NET_H
#define KWITNESS_KERNEL_NET_H

#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	possible_net_t skc_net;
	unsigned long skc_flags;
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
	int sk_err;
	u32 sk_ack_backlog;
	u32 sk_max_ack_backlog;
	struct pid *sk_peer_pid;
};

struct inet_sock {
	__be16 inet_sport;
};

struct socket {
	struct sock *sk;
};

struct inet_connection_sock {
	struct {
		u32 lrcvtime;
	} icsk_ack;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u32 snd_una;
	u32 write_seq;
	u32 rcv_nxt;
	u32 copied_seq;
	u32 srtt_us;
	u32 lsndtime;
	u32 total_retrans;
	u64 bytes_sent;
	u64 bytes_retrans;
	u64 bytes_received;
};

struct sockaddr_un {
	unsigned short sun_family;
	char sun_path[108];
};

struct unix_address {
	int len;
	struct sockaddr_un name[0];
};

struct unix_sock {
	struct unix_address *addr;
	struct sock *peer;
};

struct bpf_map;

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

#pragma clang attribute pop

/* The other end of an internet socket; nothing for any other family. Addresses stay in network order. */
static __always_inline void fill_peer(struct sock *sk, u16 *family, u16 *port, u64 *high, u64 *low)
{
	u16 kind = BPF_CORE_READ(sk, __sk_common.skc_family);

	if (kind != AF_INET && kind != AF_INET6)
		return;
	*family = kind;
	*port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (kind == AF_INET) {
		*low = BPF_CORE_READ(sk, __sk_common.skc_daddr);
		return;
	}
	bpf_probe_read_kernel(high, 8, (void *)sk + bpf_core_field_offset(struct sock, __sk_common.skc_v6_daddr));
	bpf_probe_read_kernel(low, 8, (void *)sk + bpf_core_field_offset(struct sock, __sk_common.skc_v6_daddr) + 8);
}

#endif
