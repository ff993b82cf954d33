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

static __always_inline bool is_watched(u32 tgid)
{
	u8 *mark = mark_of(tgid);

	return mark && *mark;
}

static __always_inline void watch(u32 tgid)
{
	u8 *mark = mark_of(tgid);

	if (mark)
		*mark = 1;
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

/* For the next process with that pid. Gives whether it was watched. */
static __always_inline bool unwatch(u32 tgid)
{
	u8 *mark = mark_of(tgid);

	if (!mark || !*mark)
		return false;
	*mark = 0;
	return true;
}

#endif
