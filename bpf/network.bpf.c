/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* TCP connections of watched processes, by their sockets. Only the active opening and the listening run in their owner's
 * context; whatever comes later may run in anybody's, so the owner is kept with the socket. */
#include "kernel_net.h"
#include "watch.bpf.h"

#define SOCK_DONE 1 /* include/net/sock.h: a FIN was received */
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7
#define TCP_LISTEN 10
#define TICKS_PER_SECOND_CANDIDATES 4

/* jiffies began at -300 s (INITIAL_JIFFIES, include/linux/jiffies.h): of the four rates that kernels are built with, only
 * the right one puts them near the monotonic clock. */
static __always_inline u64 tick_ns(void)
{
	const u32 rates[TICKS_PER_SECOND_CANDIDATES] = {250, 1000, 100, 300};
	u64 seconds = bpf_ktime_get_ns() / SECOND, jiffies = bpf_jiffies64(), since;
	u32 i;

#pragma unroll
	for (i = 0; i < TICKS_PER_SECOND_CANDIDATES; i++) {
		since = (jiffies - ((1ULL << 32) - 300ULL * rates[i])) / rates[i];
		if (since + 2 >= seconds && since <= seconds + 2)
			return SECOND / rates[i];
	}
	return 0;
}

static __always_inline u64 tick_time(u32 tick, u64 now, u64 length)
{
	if (!tick || !length)
		return 0;
	return now - (u32)((u32)bpf_jiffies64() - tick) * length;
}

static __always_inline void fill_addresses(struct event_connection *e, struct sock *sk)
{
	e->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport)); /* skc_num is gone by the end */
	fill_peer(sk, &e->family, &e->peer_port, &e->peer_high, &e->peer_low);
	if (e->family == AF_INET) {
		e->local_low = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	} else {
		bpf_probe_read_kernel(&e->local_high, 8,
				      (void *)sk + bpf_core_field_offset(struct sock, __sk_common.skc_v6_rcv_saddr));
		bpf_probe_read_kernel(&e->local_low, 8,
				      (void *)sk + bpf_core_field_offset(struct sock, __sk_common.skc_v6_rcv_saddr) + 8);
	}
	e->network_namespace_inode = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline void fill_connection(struct event_connection *e, struct sock *sk, struct connection *c, u16 stage)
{
	struct tcp_sock *tp = (void *)sk;
	u64 now = e->header.time_boottime_ns, tick = tick_ns();

	e->process = c->owner;
	e->connection_id = c->began_ns;
	e->established_boottime_ns = c->established_ns;
	e->connection_flags = c->flags;
	e->stage = stage;
	e->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	fill_addresses(e, sk);
	if (stage == STAGE_LISTENING) {
		e->queued = BPF_CORE_READ(sk, sk_ack_backlog);
		e->backlog = BPF_CORE_READ(sk, sk_max_ack_backlog);
		return;
	}
	e->sent_bytes = BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans);
	e->received_bytes = BPF_CORE_READ(tp, bytes_received);
	if (e->received_bytes && BPF_CORE_READ(sk, __sk_common.skc_flags) & 1 << SOCK_DONE)
		e->received_bytes--;	   /* the peer's FIN counts as one */
	if (e->state == TCP_ESTABLISHED) { /* in other states SYN and FIN count as a byte */
		e->unacknowledged_bytes = BPF_CORE_READ(tp, write_seq) - BPF_CORE_READ(tp, snd_una);
		e->unread_bytes = BPF_CORE_READ(tp, rcv_nxt) - BPF_CORE_READ(tp, copied_seq);
	}
	e->rtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
	e->retransmits = BPF_CORE_READ(tp, total_retrans);
	if (e->sent_bytes || e->unacknowledged_bytes)
		e->last_send_boottime_ns = tick_time(BPF_CORE_READ(tp, lsndtime), now, tick);
	if (e->received_bytes)
		e->last_receive_boottime_ns = tick_time(BPF_CORE_READ(tp, inet_conn.icsk_ack.lrcvtime), now, tick);
	e->error = BPF_CORE_READ(sk, sk_err);
}

static __always_inline void report_connection(struct sock *sk, struct connection *c, u16 stage)
{
	struct event_connection *e;

	count_seen(EVENT_CONNECTION);
	e = reserve_record_for(RING_BULK, NULL, c->user, sizeof(*e), EVENT_CONNECTION);
	if (!e)
		return;
	stamp(&e->header, sizeof(*e), EVENT_CONNECTION);
	fill_connection(e, sk, c, stage);
	bpf_ringbuf_submit(e, wakeup_of(RING_BULK, false));
	count_submitted(EVENT_CONNECTION);
}

/* In the owner's context: SYN_SENT and LISTEN only. */
static __always_inline void adopt(struct sock *sk, u32 flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct connection *c;

	if (!is_watched(task->tgid, task) || is_self(task->tgid))
		return;
	c = bpf_sk_storage_get(&connections, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!c) {
		count_seen(EVENT_CONNECTION);
		count_lost(EVENT_CONNECTION, LOSS_TABLE_FULL);
		return;
	}
	c->owner = key_of(task);
	c->user = accountable_user(task);
	c->began_ns = bpf_ktime_get_boot_ns();
	c->established_ns = 0;
	c->flags = flags;
	c->done = 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_socket_state, struct sock *sk, int old_state, int new_state)
{
	struct connection *c;

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	if (new_state == TCP_SYN_SENT) {
		adopt(sk, 0);
		return 0;
	}
	if (new_state == TCP_LISTEN) {
		adopt(sk, CONNECTION_LISTENER);
		return 0;
	}
	if (new_state != TCP_ESTABLISHED && new_state != TCP_CLOSE && new_state != TCP_SYN_RECV)
		return 0;
	c = bpf_sk_storage_get(&connections, sk, NULL, 0);
	if (!c || c->done)
		return 0;
	if (new_state == TCP_SYN_RECV) {
		c->began_ns = bpf_ktime_get_boot_ns(); /* the listener's copy: from now on it is its own */
		c->flags = CONNECTION_ACCEPTED;
	} else if (new_state == TCP_ESTABLISHED) {
		if (c->flags & CONNECTION_LISTENER) {
			c->began_ns = bpf_ktime_get_boot_ns();
			c->flags = CONNECTION_ACCEPTED;
		}
		c->established_ns = bpf_ktime_get_boot_ns();
		report_connection(sk, c, STAGE_CONNECTED);
	} else if (!(c->flags & CONNECTION_LISTENER)) {
		c->done = 1;
		report_connection(sk, c, c->established_ns ? STAGE_CLOSED : STAGE_FAILED);
	}
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(on_reset_received, struct sock *sk)
{
	struct connection *c = bpf_sk_storage_get(&connections, sk, NULL, 0);

	if (c)
		c->flags |= CONNECTION_RESET_BY_PEER;
	return 0;
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(on_reset_sent, struct sock *sk)
{
	struct connection *c;

	if (!sk)
		return 0;
	c = bpf_sk_storage_get(&connections, sk, NULL, 0);
	if (c)
		c->flags |= CONNECTION_RESET_SENT;
	return 0;
}

/* Every living socket of watched processes, in all network namespaces at once. */
SEC("iter/bpf_sk_storage_map")
int on_sockets(struct bpf_iter__bpf_sk_storage_map *context)
{
	struct connection *c = context->value;
	struct sock *sk = context->sk;
	struct event_connection *e;
	struct small_scratch *s;
	u16 stage;

	if (!sk || !c || c->done)
		return 0;
	s = small_scratch_of(SLOT_SOCKETS);
	if (!s)
		return 0;
	stage = c->flags & CONNECTION_LISTENER ? STAGE_LISTENING : STAGE_SAMPLED;
	e = begin_record(s, struct event_connection, EVENT_CONNECTION);
	fill_connection(e, sk, c, stage);
	write_record(context->meta->seq, e, sizeof(*e), EVENT_CONNECTION);
	return 0;
}
