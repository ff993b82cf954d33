/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How a record begins, grows and leaves; every step is counted. */
#ifndef KWITNESS_EMIT_BPF_H
#define KWITNESS_EMIT_BPF_H

#include "scratch.bpf.h"
#include "share.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* Set by user space before load, in the initial pid namespace's numbers. */
const volatile u32 self_tgid __weak = 0;
const volatile u32 launcher_tgid __weak = 0; /* `kwitness run`: the parent of the observer and of the command */
const volatile u32 page_bytes __weak = 4096;

static __always_inline struct ledger *ledger(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&ledgers, &zero);
}

/* Counters are per CPU, but a program can be interrupted by another one: hence the atomic add (uncontended, a few ns). */
static __always_inline void count(u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

static __always_inline void count_seen(u32 kind)
{
	struct ledger *l = ledger();

	if (l && kind < EVENT_KIND_COUNT)
		count(&l->seen[kind]);
}

static __always_inline void count_filtered(u32 kind, u32 reason)
{
	struct ledger *l = ledger();

	if (l && kind < EVENT_KIND_COUNT && reason < FILTER_REASON_COUNT)
		count(&l->filtered[kind][reason]);
}

static __always_inline void count_lost(u32 kind, u32 reason)
{
	struct ledger *l = ledger();

	if (l && kind < EVENT_KIND_COUNT && reason < LOSS_REASON_COUNT)
		count(&l->lost[kind][reason]);
}

/* A loss that concerns nobody but one user. */
__weak __noinline int count_lost_of(u64 user, u32 kind, u32 reason)
{
	struct user_loss key = {.user = user, .kind = kind, .reason = reason};
	u64 *lost = bpf_map_lookup_elem(&user_losses, &key), one = 1;

	count_lost(kind, reason);
	if (!lost) {
		if (!bpf_map_update_elem(&user_losses, &key, &one, BPF_NOEXIST))
			return 0;
		lost = bpf_map_lookup_elem(&user_losses, &key); /* another CPU was faster */
	}
	if (lost)
		count(lost);
	return 0;
}

static __always_inline void count_no_room(const u32 ring, struct task_struct *task, u64 user, u32 kind)
{
	if (ring == RING_UNWATCHED)
		count_lost(kind, LOSS_UNWATCHED);
	else
		count_lost_of(user ?: accountable_user(task), kind, LOSS_USER_SHARE);
}

static __always_inline void count_submitted(u32 kind)
{
	struct ledger *l = ledger();

	if (l && kind < EVENT_KIND_COUNT)
		count(&l->submitted[kind]);
}

/* What wait(2) will say (kernel/exit.c, wait_task_zombie): the leader's own code, unless the group was told to exit. */
static __always_inline u32 wait_status(struct task_struct *leader)
{
	if (BPF_CORE_READ(leader, signal, flags) & SIGNAL_GROUP_EXIT)
		return BPF_CORE_READ(leader, signal, group_exit_code);
	return BPF_CORE_READ(leader, exit_code);
}

static __always_inline struct process_key key_of(struct task_struct *task)
{
	struct process_key key = {};

	key.tgid = BPF_CORE_READ(task, tgid);
	key.start_boottime_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	return key;
}

static __always_inline struct process_key parent_of(struct task_struct *task)
{
	return key_of(BPF_CORE_READ(task, parent));
}

/* Zero unless somebody traces the task. */
static __always_inline struct process_key hidden_parent_of(struct task_struct *task)
{
	struct process_key none = {};
	struct task_struct *real = BPF_CORE_READ(task, real_parent);

	return real == BPF_CORE_READ(task, parent) ? none : key_of(real);
}

static __always_inline bool is_self(u32 tgid)
{
	return tgid && (tgid == self_tgid || tgid == launcher_tgid);
}

/* The one helper that zeroes: ring memory and scratch memory both hold stale bytes. */
static __always_inline void stamp(struct event_header *header, u32 bytes, u16 kind)
{
	struct ledger *l = ledger();

	__builtin_memset(header, 0, bytes);
	header->time_boottime_ns = bpf_ktime_get_boot_ns();
	header->sequence = l ? __sync_fetch_and_add(&l->sequence, 1) : 0;
	header->cpu = bpf_get_smp_processor_id();
	header->record_kind = kind;
	header->record_bytes = bytes;
}

static __always_inline void count_nested(u32 kind)
{
	count_seen(kind);
	count_lost(kind, LOSS_NESTED);
}

/* Begins a record with text in a scratch slot. */
#define begin_record(scratch, type, kind)                \
	({                                               \
		type *__e = (void *)(scratch)->record;   \
		stamp(&__e->header, sizeof(type), kind); \
		(scratch)->used = sizeof(type);          \
		__e;                                     \
	})

/* Where the next text goes, or NULL. The bound leaves room for one whole TEXT_BYTES, which proves every later write. */
static __always_inline u8 *text_room(struct scratch *s)
{
	u32 used = s->used;

	if (used > RECORD_BYTES - TEXT_BYTES)
		return NULL;
	return s->record + used;
}

static __always_inline u16 append_kernel(struct scratch *s, const void *from, u32 bytes)
{
	u8 *room = text_room(s);

	if (!room || !bytes)
		return 0;
	if (bytes > TEXT_BYTES)
		bytes = TEXT_BYTES;
	if (bpf_probe_read_kernel(room, bytes, from))
		return 0;
	s->used += bytes;
	return bytes;
}

/* A C string of the current task's memory, without its NUL. */
static __always_inline u16 append_user_string(struct scratch *s, const void *from, u32 limit)
{
	u8 *room = text_room(s);
	long bytes;

	if (!room)
		return 0;
	bytes = bpf_probe_read_user_str(room, limit, from);
	if (bytes <= 1)
		return 0;
	s->used += bytes - 1;
	return bytes - 1;
}

/* Room in a ring for a record that has a fixed size; NULL, and counted, when there is none for that user (0: the task's). */
static __always_inline void *reserve_record_for(const u32 ring, struct task_struct *task, u64 user, const u32 bytes, u16 kind)
{
	void *room = NULL;

	if (!ring_has_room(ring, task, user, bytes)) {
		count_no_room(ring, task, user, kind);
		return NULL;
	}
	if (ring == RING_LIFECYCLE)
		room = bpf_ringbuf_reserve(&lifecycle_ring, bytes, 0);
	else if (ring == RING_UNWATCHED)
		room = bpf_ringbuf_reserve(&unwatched_ring, bytes, 0);
	else
		room = bpf_ringbuf_reserve(&bulk_ring, bytes, 0);
	if (!room)
		count_lost(kind, ring == RING_UNWATCHED ? LOSS_UNWATCHED : LOSS_RING_FULL);
	return room;
}

static __always_inline void *reserve_record(const u32 ring, struct task_struct *task, const u32 bytes, u16 kind)
{
	return reserve_record_for(ring, task, 0, bytes, kind);
}

#define RECORD_URGENT (1U << 31)

/* `what`: the kind, the ring in the second half, and RECORD_URGENT. */
__weak __noinline int hand_over(u32 slot, u32 what)
{
	struct scratch *s = scratch_at(slot);
	u32 kind = what & 0xffff, ring = (what & ~RECORD_URGENT) >> 16, bytes;
	struct task_struct *task;
	long refused;
	u64 flags;

	if (!s)
		return 0;
	task = (void *)s->task;
	bytes = s->used;
	((struct event_header *)s->record)->record_bytes = bytes;
	if (bytes > RECORD_BYTES) /* never: proves the size to the verifier */
		return 0;
	flags = wakeup_of(ring, what & RECORD_URGENT);
	if (!ring_has_room(ring, task, 0, bytes)) {
		count_no_room(ring, task, 0, kind);
		return 0;
	}
	if (ring == RING_LIFECYCLE)
		refused = bpf_ringbuf_output(&lifecycle_ring, s->record, bytes, flags);
	else if (ring == RING_UNWATCHED)
		refused = bpf_ringbuf_output(&unwatched_ring, s->record, bytes, flags);
	else
		refused = bpf_ringbuf_output(&bulk_ring, s->record, bytes, flags);
	if (refused)
		count_lost(kind, ring == RING_UNWATCHED ? LOSS_UNWATCHED : LOSS_RING_FULL);
	else
		count_submitted(kind);
	return 0;
}

/* Hands a record with text over; it takes from the share of `task`'s user. `urgent` wakes the reader at once. */
static __always_inline void submit_record(struct scratch *s, const u32 ring, struct task_struct *task, u16 kind, bool urgent)
{
	s->task = (u64)task;
	hand_over(s->slot, kind | ring << 16 | (urgent ? RECORD_URGENT : 0));
}

/* Out of an iterator. A record that did not fit is shown again in the next buffer, so only what was taken counts. */
static __always_inline void write_record(struct seq_file *seq, void *record, u32 bytes, u16 kind)
{
	if (bpf_seq_write(seq, record, bytes))
		return;
	count_seen(kind);
	count_submitted(kind);
}

#endif
