/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which processes are watched beyond their life and death: those inside a binding, and what they fork. */
#ifndef KWITNESS_WATCH_BPF_H
#define KWITNESS_WATCH_BPF_H

#include "emit.bpf.h"

static const struct watched new_watched; /* zeroes too large for the stack */

static __always_inline u8 *mark_of(u32 tgid)
{
	u32 index = tgid / MARKS_PER_ENTRY;
	struct marks *marks = bpf_map_lookup_elem(&watch_marks, &index);

	return marks ? &marks->of[tgid % MARKS_PER_ENTRY] : NULL;
}

/* Whether a mark that user space made is meant for this process; if not, it goes. */
static __noinline bool confirm_mark(u32 tgid, struct task_struct *task)
{
	u64 *asked = bpf_map_lookup_elem(&asked_marks, &tgid);
	bool meant = asked && *asked == BPF_CORE_READ(task, group_leader, start_boottime);
	u8 *mark = mark_of(tgid);

	bpf_map_delete_elem(&asked_marks, &tgid);
	if (mark)
		*mark = meant ? MARK_WATCHED : 0;
	if (!meant) {
		count_seen(EVENT_EXISTING);
		count_filtered(EVENT_EXISTING, FILTER_STALE_MARK);
	}
	return meant;
}

/* `task`: any of the process's threads. */
static __always_inline bool is_watched(u32 tgid, struct task_struct *task)
{
	u8 *mark = mark_of(tgid);

	if (!mark || !*mark)
		return false;
	return *mark == MARK_WATCHED || confirm_mark(tgid, task);
}

static __always_inline void watch(u32 tgid)
{
	u64 *last = bpf_map_lookup_elem(&youngest, &(u32){0});
	u8 *mark = mark_of(tgid);

	if (mark)
		*mark = MARK_WATCHED;
	if (last)
		*last = bpf_ktime_get_boot_ns();
}

/* The sums of a watched process, made when they are first needed; NULL, and counted as seen and lost, when the table is full. */
static __always_inline struct watched *sums_of(u32 tgid, struct task_struct *task, u32 kind)
{
	struct watched *sums = bpf_map_lookup_elem(&watched_processes, &tgid);

	if (sums)
		return sums;
	bpf_map_update_elem(&watched_processes, &tgid, &new_watched, BPF_NOEXIST);
	sums = bpf_map_lookup_elem(&watched_processes, &tgid);
	if (sums)
		sums->start_boottime_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	else {
		count_seen(kind);
		count_lost(kind, LOSS_TABLE_FULL);
	}
	return sums;
}

/* At the end of a process. Gives whether it was watched. */
static __always_inline bool unwatch(u32 tgid, struct task_struct *task)
{
	u8 *mark = mark_of(tgid);
	bool watched = is_watched(tgid, task);

	if (mark && watched)
		*mark = 0;
	return watched;
}

/* At the beginning of one: what was meant for the last process with that pid came too late. */
static __always_inline void forget_mark(u32 tgid)
{
	u8 *mark = mark_of(tgid);

	if (!mark || !*mark)
		return;
	*mark = 0;
	bpf_map_delete_elem(&asked_marks, &tgid);
	count_seen(EVENT_EXISTING);
	count_filtered(EVENT_EXISTING, FILTER_STALE_MARK);
}

#endif
