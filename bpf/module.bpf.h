/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which file is mapped at an address of the current task.
 *
 * The tree of mappings is read without its lock. bpf_find_vma takes the lock, and answers EBUSY where another thread changes the
 * mappings, and where another program on this CPU has just asked: it unlocks by an irq_work of which each CPU has one. Two
 * observers on one host would take the file from each other at each crash. The reads cannot fault, a node that was replaced
 * meanwhile shows it, and the area that was found must contain the address. */
#ifndef KWITNESS_MODULE_BPF_H
#define KWITNESS_MODULE_BPF_H

#include "emit.bpf.h"

/* lib/maple_tree.c and include/linux/maple_tree.h, 64 bits, 6.1 and later: a root that ends in binary 10 is a node. A pointer to
 * a node has its type in bits 3 to 6, because nodes are aligned to 256 bytes. */
#define MAPLE_NODE_MASK 255ULL
#define MAPLE_ENTRY_BITS 3
#define MAPLE_ENTRY_IS_NODE 2
#define MAPLE_LARGEST_RESERVED 4096
#define MAPLE_TYPE_SHIFT 3
#define MAPLE_TYPE_MASK 15
#define MAPLE_LEAF_64 1
#define MAPLE_RANGE_64 2
#define MAPLE_ARANGE_64 3
#define MAPLE_RANGE_PIVOTS 15
#define MAPLE_ARANGE_PIVOTS 9
#define MAPLE_DEPTH 16 /* ten slots a node: more areas than a process may have */
#define MAPLE_ATTEMPTS 3
#define MAPLE_REPLACED 1 /* no entry of a tree of mappings: those are pointers */

enum area_answer {
	AREA_NONE = 0,	  /* nothing is mapped there */
	AREA_CHANGED = 1, /* the tree was changed while it was read */
	AREA_FOUND = 2,
};

struct area_walk {
	u64 address;
	u64 entry;
	u32 answer;
};

static __always_inline bool is_maple_root(u64 entry)
{
	return (entry & MAPLE_ENTRY_BITS) == MAPLE_ENTRY_IS_NODE && entry > MAPLE_LARGEST_RESERVED;
}

/* What a node has for an address; MAPLE_REPLACED if the node is no longer in the tree. Global: see share.bpf.h. */
__weak __noinline u64 entry_below(u64 entry, u64 address)
{
	u64 node = entry & ~MAPLE_NODE_MASK, parent = 0, next = 0;
	u32 type = entry >> MAPLE_TYPE_SHIFT & MAPLE_TYPE_MASK, offset = 0, count, i;
	u64 pivots[MAPLE_RANGE_PIVOTS] = {}, at, slots;

	if (type < MAPLE_LEAF_64 || type > MAPLE_ARANGE_64)
		return MAPLE_REPLACED;
	if (type == MAPLE_ARANGE_64) {
		count = MAPLE_ARANGE_PIVOTS;
		at = node + bpf_core_field_offset(struct maple_arange_64, pivot);
		slots = node + bpf_core_field_offset(struct maple_arange_64, slot);
		bpf_probe_read_kernel(pivots, MAPLE_ARANGE_PIVOTS * sizeof(u64), (void *)at);
	} else {
		count = MAPLE_RANGE_PIVOTS;
		at = node + bpf_core_field_offset(struct maple_range_64, pivot);
		slots = node + bpf_core_field_offset(struct maple_range_64, slot);
		bpf_probe_read_kernel(pivots, MAPLE_RANGE_PIVOTS * sizeof(u64), (void *)at);
	}
	/* as mtree_lookup_walk(): the first pivot that is not below the address, else the last slot */
	for (i = 0; i < MAPLE_RANGE_PIVOTS; i++) {
		if (i >= count || pivots[i] >= address)
			break;
		offset = i + 1;
	}
	bpf_probe_read_kernel(&next, sizeof(next), (void *)slots + offset * sizeof(u64));
	bpf_probe_read_kernel(&parent, sizeof(parent), (void *)node + bpf_core_field_offset(struct maple_range_64, parent));
	return (parent & ~MAPLE_NODE_MASK) == node ? MAPLE_REPLACED : next; /* ma_dead_node() */
}

static long on_maple_node(u32 index, struct area_walk *walk)
{
	u64 entry = walk->entry, next = entry_below(entry, walk->address);

	if (next == MAPLE_REPLACED)
		return 1;
	walk->entry = next;
	if ((entry >> MAPLE_TYPE_SHIFT & MAPLE_TYPE_MASK) != MAPLE_LEAF_64)
		return !next;
	walk->answer = next && !(next & MAPLE_ENTRY_BITS) ? AREA_FOUND : AREA_NONE;
	return 1;
}

/* The struct vm_area_struct of `memory`, a struct mm_struct, at an address; or what is there instead of one. Global: see share.bpf.h. */
__weak __noinline u64 find_area(u64 memory, u64 address)
{
	struct mm_struct *mm = (void *)memory;
	struct area_walk walk = {};
	struct vm_area_struct *area;
	u32 attempt;

	if (!bpf_core_field_exists(mm->mm_mt)) /* before 6.1 */
		return AREA_CHANGED;
	walk.address = address;
	for (attempt = 0; attempt < MAPLE_ATTEMPTS; attempt++) {
		walk.entry = (u64)BPF_CORE_READ(mm, mm_mt.ma_root);
		walk.answer = AREA_CHANGED;
		if (!is_maple_root(walk.entry))
			return AREA_NONE; /* a process has more than one area, and so a node at its root */
		bpf_loop(MAPLE_DEPTH, on_maple_node, &walk, 0);
		if (walk.answer == AREA_CHANGED)
			continue;
		if (walk.answer == AREA_NONE)
			return AREA_NONE;
		area = (void *)walk.entry;
		if (BPF_CORE_READ(area, vm_start) <= address && address < BPF_CORE_READ(area, vm_end))
			return walk.entry;
	}
	return AREA_CHANGED;
}

static __always_inline struct vm_area_struct *area_at(struct mm_struct *mm, u64 address, bool *changed)
{
	u64 area = find_area((u64)mm, address);

	*changed = area == AREA_CHANGED;
	return area > AREA_CHANGED ? (void *)area : NULL;
}

#endif
