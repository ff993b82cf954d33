/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Room to build records in. */
#ifndef KWITNESS_SCRATCH_BPF_H
#define KWITNESS_SCRATCH_BPF_H

#include "maps.bpf.h"

/* Takes the first free one of this CPU's scratches and gives its index; `limit` when none is free. A function of its own, so that
 * the verifier follows its callers once and not once for each index. */
__weak __noinline int free_scratch(u32 limit)
{
	struct scratch *s;
	u32 index, key;

#pragma unroll
	for (index = 0; index < SCRATCHES; index++) {
		key = index; /* a copy: the helper takes its address */
		if (index >= limit)
			break;
		s = bpf_map_lookup_elem(&scratches, &key);
		if (s && !__sync_lock_test_and_set(&s->taken, 1))
			return index;
	}
	return limit;
}

/* NULL when all are in use: the caller counts LOSS_NESTED. Whoever got one gives it back. */
static __always_inline struct scratch *take_scratch(u32 limit)
{
	u32 index = free_scratch(limit);
	struct scratch *s = index < limit ? bpf_map_lookup_elem(&scratches, &index) : NULL;

	if (s)
		s->slot = index;
	return s;
}

/* The scratch that the caller of a global function has taken, by its slot: such functions take numbers. */
static __always_inline struct scratch *scratch_at(u32 slot)
{
	return bpf_map_lookup_elem(&scratches, &slot);
}

static __always_inline void give_back(struct scratch *s)
{
	barrier(); /* it is another program's from here on; all of them are on this CPU */
	*(volatile u32 *)&s->taken = 0;
}

static __always_inline struct small_scratch *small_scratch_of(u32 slot)
{
	return bpf_map_lookup_elem(&small_scratches, &slot);
}

#endif
