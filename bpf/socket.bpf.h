/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the calls themselves tell of sockets: questions to name servers, and who is behind a unix socket. */
#ifndef KWITNESS_SOCKET_BPF_H
#define KWITNESS_SOCKET_BPF_H

#include "file.bpf.h"

#define NAME_SERVER_PORT 53
#define QUERIES_PER_PROCESS 1024
#define PEERS_PER_PROCESS 64
#define ANSWERS_LOOKED_AT 8
#define NAME_BYTES 256 /* RFC 1035, 2.3.4 */
#define TYPE_A 1
#define TYPE_AAAA 28
#define DNS_ANSWER 0x8000

struct iovec_user {
	u64 base;
	u64 length;
};

struct message_user { /* struct user_msghdr, include/linux/socket.h */
	u64 name;
	u32 name_length;
	u32 _pad;
	u64 vector;
	u64 vectors;
	u64 control;
	u64 control_length;
	u32 flags;
	u32 _pad2;
};

struct multi_message_user { /* struct mmsghdr */
	struct message_user header;
	u32 length;
	u32 _pad;
};

struct answer_walk {
	struct event_name_query *e;
	u64 at;
	u64 end;
	u32 left;
};

static long on_answer(u32 index, struct answer_walk *walk)
{
	struct event_name_query *e = walk->e;
	u8 name = 0;
	struct {
		u16 type;
		u16 class;
		u32 ttl;
		u16 length;
	} __attribute__((packed)) head = {};
	u64 high = 0, low = 0, data;
	u16 length;

	/* every server compresses the name it was just asked for; another form ends the walk */
	if (index >= walk->left || walk->at + 12 > walk->end || bpf_probe_read_user(&name, 1, (void *)walk->at) ||
	    (name & 0xc0) != 0xc0)
		return 1;
	if (bpf_probe_read_user(&head, sizeof(head), (void *)walk->at + 2))
		return 1;
	length = bpf_ntohs(head.length);
	data = walk->at + 12;
	if (head.type == bpf_htons(TYPE_A) && length == 4) {
		bpf_probe_read_user(&low, 4, (void *)data);
	} else if (head.type == bpf_htons(TYPE_AAAA) && length == 16) {
		bpf_probe_read_user(&high, 8, (void *)data);
		bpf_probe_read_user(&low, 8, (void *)data + 8);
	}
	if (low || high) {
		if (e->addresses == 0) {
			e->first_high = high;
			e->first_low = low;
		} else if (e->addresses == 1) {
			e->second_high = high;
			e->second_low = low;
		}
		e->addresses++;
	}
	walk->at = data + length;
	return 0;
}

/* One datagram of the DNS (RFC 1035, section 4) in the caller's memory. */
__noinline int report_query(u64 message, u32 bytes, u64 peer)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sock *sk = (void *)peer;
	u32 tgid = task->tgid;
	struct answer_walk walk = {};
	struct event_name_query *e;
	struct watched *sums;
	struct scratch *s;
	u16 head[6] = {}, question[2] = {};

	if (bytes < 17 || bpf_probe_read_user(head, sizeof(head), (void *)message) || head[2] != bpf_htons(1))
		return 0;
	sums = sums_of(tgid, task, EVENT_NAME_QUERY);
	if (!sums)
		return 0;
	count_seen(EVENT_NAME_QUERY);
	if (__sync_fetch_and_add(&sums->queries_reported, 1) >= QUERIES_PER_PROCESS) {
		count_filtered(EVENT_NAME_QUERY, FILTER_LIMIT);
		return 0;
	}
	s = take_scratch(CALL_SCRATCHES);
	if (!s) {
		count_lost(EVENT_NAME_QUERY, LOSS_NESTED);
		return 0;
	}
	e = begin_record(s, struct event_name_query, EVENT_NAME_QUERY);
	e->process.tgid = tgid;
	e->process.start_boottime_ns = sums->start_boottime_ns;
	e->query_id = bpf_ntohs(head[0]);
	e->query_flags = bpf_ntohs(head[1]);
	fill_peer(sk, &e->family, &e->port, &e->server_high, &e->server_low);
	e->labels = append_user_string(s, (void *)message + 12, NAME_BYTES);
	bpf_probe_read_user(question, sizeof(question), (void *)message + 12 + e->labels + 1);
	e->question_type = bpf_ntohs(question[0]);
	if (e->query_flags & DNS_ANSWER) {
		walk.e = e;
		walk.at = message + 12 + e->labels + 1 + 4;
		walk.end = message + bytes;
		walk.left = bpf_ntohs(head[3]);
		bpf_loop(ANSWERS_LOOKED_AT, on_answer, &walk, 0);
	}
	submit_record(s, RING_BULK, task, EVENT_NAME_QUERY, false);
	give_back(s);
	return 0;
}

/* The socket behind a descriptor, if it is UDP and its peer is a name server; else 0. */
static __always_inline u64 name_server(struct task_struct *task, u32 tgid, u32 descriptor)
{
	struct tracked_file *t = tracked(task, tgid, descriptor);
	struct socket *socket;
	struct file *file;
	struct sock *sk;

	if (!t || t->state != TRACK_DATAGRAM)
		return 0;
	file = (void *)t->file;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	return BPF_CORE_READ(sk, __sk_common.skc_dport) == bpf_htons(NAME_SERVER_PORT) ? (u64)sk : 0;
}

__noinline int on_datagrams(u32 number, u64 argument, u64 result, u64 peer)
{
	struct multi_message_user message = {};
	struct iovec_user vector = {};
	u32 i;

	if (number == __NR_sendto || number == __NR_recvfrom) {
		report_query(argument, result, peer);
		return 0;
	}
	for (i = 0; i < 2; i++) { /* glibc asks for A and AAAA in one sendmmsg(2) */
		if (bpf_probe_read_user(&message.header, sizeof(message.header), (void *)argument + i * sizeof(message)))
			return 0;
		if (bpf_probe_read_user(&vector, sizeof(vector), (void *)message.header.vector))
			return 0;
		if (number != __NR_sendmmsg && number != __NR_recvmmsg) {
			report_query(vector.base, result, peer);
			return 0;
		}
		if (i >= result)
			return 0;
		report_query(vector.base, vector.length, peer);
	}
	return 0;
}

/* Of an abstract name, which begins with a NUL and ends by its length, the rest behind an `@`, as ss(8) writes it. */
static __always_inline u16 append_unix_path(struct scratch *s, struct unix_address *address)
{
	const char *path = (void *)address + bpf_core_field_offset(struct unix_address, name) +
			   bpf_core_field_offset(struct sockaddr_un, sun_path);
	u32 length = BPF_CORE_READ(address, len) - sizeof(u16);
	u8 *room = text_room(s);

	if (!room || length == 0 || length > 108)
		return 0;
	barrier_var(length); /* or the compiler drops the mask, which older verifiers need */
	bpf_probe_read_kernel(room, length & 127, path);
	if (room[0])
		length = bpf_probe_read_kernel_str(room, 109, path) - 1;
	else
		room[0] = '@';
	if (length > 108)
		return 0;
	s->used += length;
	return length;
}

/* A connect(2) that worked: of a unix socket the kernel keeps who listens (SO_PEERCRED). */
__noinline int on_connected(u32 tgid, u32 descriptor)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *file = file_of(task, descriptor);
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct event_unix_connected *e;
	struct unix_address *address;
	struct unix_sock *peer;
	struct watched *sums;
	struct scratch *s;
	struct sock *sk;
	struct pid *pid;
	struct upid upid = {};

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	sk = BPF_CORE_READ(socket, sk);
	if (BPF_CORE_READ(sk, __sk_common.skc_family) != AF_UNIX)
		return 0;
	sums = sums_of(tgid, task, EVENT_UNIX_CONNECTED);
	if (!sums)
		return 0;
	count_seen(EVENT_UNIX_CONNECTED);
	if (__sync_fetch_and_add(&sums->peers_reported, 1) >= PEERS_PER_PROCESS) {
		count_filtered(EVENT_UNIX_CONNECTED, FILTER_LIMIT);
		return 0;
	}
	s = take_scratch(CALL_SCRATCHES);
	if (!s) {
		count_lost(EVENT_UNIX_CONNECTED, LOSS_NESTED);
		return 0;
	}
	e = begin_record(s, struct event_unix_connected, EVENT_UNIX_CONNECTED);
	e->process.tgid = tgid;
	e->process.start_boottime_ns = sums->start_boottime_ns;
	pid = BPF_CORE_READ(sk, sk_peer_pid);
	if (pid)
		bpf_probe_read_kernel(&upid, sizeof(upid), (void *)pid + bpf_core_field_offset(struct pid, numbers));
	e->peer_tgid = upid.nr;
	peer = (void *)BPF_CORE_READ((struct unix_sock *)sk, peer);
	address = BPF_CORE_READ(peer, addr);
	if (address)
		e->path = append_unix_path(s, address);
	submit_record(s, RING_BULK, task, EVENT_UNIX_CONNECTED, false);
	give_back(s);
	return 0;
}

#endif
