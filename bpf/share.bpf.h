/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What one user may cause: no user can fill a ring for the others. */
#ifndef KWITNESS_SHARE_BPF_H
#define KWITNESS_SHARE_BPF_H

#include "maps.bpf.h"
#include <bpf/bpf_core_read.h>

/* Shares of one user. Those of the rings are used only while the ring is nearly full; the others always. */
enum share {
	SHARE_LIFECYCLE = RING_LIFECYCLE,
	SHARE_UNWATCHED = RING_UNWATCHED,
	SHARE_BULK = RING_BULK,
	SHARE_TITLES,		 /* of watched processes */
	SHARE_UNWATCHED_TITLES,	 /* of others */
	SHARE_SIGNALS,		 /* to watched processes */
	SHARE_UNWATCHED_SIGNALS, /* to others */
	SHARE_SIGNAL_STATES,	 /* what a signal's target was doing */
	SHARE_REFUSED_MEMORY,	 /* limits at a refusal of memory */
	SHARE_OOM_LOOKS,	 /* looks at all processes, at an OOM kill */
	SHARE_HOLDER_LOOKS,	 /* the same, for whoever has what was refused */
	SHARE_PYTHON_STACKS,	 /* walks over the frames of an interpreter */
};

#define SECOND_NS ((u64)SECOND) /* an enumerator is an int, and a few seconds overflow it */
#define USER_NAMESPACE_DEPTH 33 /* kernel/user_namespace.c: nested 32 deep at most */
#define CONTROL_GROUP (1ULL << CONTROL_GROUP_BIT)
#define RING_SHARE_PARTS 16 /* per second, one user may put 1/16 of a ring into its last quarter */
#define TITLES_PER_SECOND 32
#define TITLES_AT_ONCE 256
#define SIGNALS_PER_SECOND 256
#define SIGNALS_AT_ONCE 1024
#define REFUSALS_PER_SECOND 8
#define REFUSALS_AT_ONCE 32
#define PYTHON_STACKS_PER_SECOND 64
#define PYTHON_STACKS_AT_ONCE 256
#define OOM_LOOKS_PER_SECOND 4
#define OOM_LOOKS_AT_ONCE 32
#define HOLDER_LOOKS_PER_SECOND 8 /* each takes up to some 2 ms */
#define HOLDER_LOOKS_AT_ONCE 64

/* Functions that take numbers are global, here and in the other files: the verifier looks at each of them once for each program, and
 * not once for each way that leads to each of its calls. */

/* struct cred * and struct css_set * of a task. */
__weak __noinline u64 user_of(u64 credentials, u64 groups)
{
	struct cred *cred = (void *)credentials;
	struct css_set *set = (void *)groups;
	struct user_namespace *space = BPF_CORE_READ(cred, user_ns);
	u32 uid = BPF_CORE_READ(cred, uid.val), depth;

	for (depth = 0; depth < USER_NAMESPACE_DEPTH; depth++) {
		if (!space || BPF_CORE_READ(space, level) <= 0)
			break;
		uid = BPF_CORE_READ(space, owner.val);
		space = BPF_CORE_READ(space, parent);
	}
	if (uid)
		return uid;
	return CONTROL_GROUP | BPF_CORE_READ(set, dfl_cgrp, kn, id);
}

/* Whoever answers for a task: the user that made its outermost user namespace (whose owner can take on any of 65,536 further
 * users in it), else its real user; for root, which runs containers of many, the control group. */
static __always_inline u64 accountable_user(struct task_struct *task)
{
	return user_of((u64)BPF_CORE_READ(task, cred), (u64)BPF_CORE_READ(task, cgroups));
}

/* Takes `cost_ns` from a share that refills by one second per second and holds `burst_ns`. Gives whether it was used up. Two CPUs
 * at once may both take the last of it. */
__weak __noinline int share_used_up(u64 user, u32 share, u64 cost_ns, u64 burst_ns)
{
	struct share_key key = {.user = user, .what = share};
	u64 now = bpf_ktime_get_boot_ns(), begin = now, *until;

	until = bpf_map_lookup_elem(&user_shares, &key);
	if (until && *until > now)
		begin = *until;
	if (begin - now > burst_ns)
		return true;
	begin += cost_ns;
	if (until)
		*until = begin;
	else
		bpf_map_update_elem(&user_shares, &key, &begin, BPF_ANY);
	return false;
}

struct ring_level {
	u64 size, used; /* bytes */
};

static __always_inline struct ring_level level_of(const u32 ring)
{
	struct ring_level level;

	if (ring == RING_LIFECYCLE) {
		level.size = bpf_ringbuf_query(&lifecycle_ring, BPF_RB_RING_SIZE);
		level.used = bpf_ringbuf_query(&lifecycle_ring, BPF_RB_AVAIL_DATA);
	} else if (ring == RING_UNWATCHED) {
		level.size = bpf_ringbuf_query(&unwatched_ring, BPF_RB_RING_SIZE);
		level.used = bpf_ringbuf_query(&unwatched_ring, BPF_RB_AVAIL_DATA);
	} else {
		level.size = bpf_ringbuf_query(&bulk_ring, BPF_RB_RING_SIZE);
		level.used = bpf_ringbuf_query(&bulk_ring, BPF_RB_AVAIL_DATA);
	}
	return level;
}

/* Three quarters of a ring are for all; of the rest, nobody gets more than a share. So no user can fill it for others. */
static __always_inline bool ring_has_room(const u32 ring, struct task_struct *task, u64 user, u32 bytes)
{
	struct ring_level level = level_of(ring);
	u64 cost_ns;

	if (level.used <= level.size - level.size / 4)
		return true;
	cost_ns = bytes * RING_SHARE_PARTS * SECOND_NS / (level.size + 1);
	return !share_used_up(user ?: accountable_user(task), ring, cost_ns, SECOND_NS);
}

/* Flags of a submit. The reader comes by a timer, for few wakeups. It is woken by an urgent record, and by a ring that is half full:
 * a flood fills one long before the timer, and then others have only their shares. */
static __always_inline u64 wakeup_of(const u32 ring, bool urgent)
{
	struct ring_level level;

	if (urgent)
		return BPF_RB_FORCE_WAKEUP;
	level = level_of(ring);
	return level.used > level.size / 2 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

#endif
