/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who is in a memory that is full, and what that memory consists of: one look at all processes, as the OOM killer has chosen. A moment
 * later the victim's memory is gone.
 *
 * The lists are read without their locks. A program on a tracepoint runs in an RCU section, so that what is reached stays memory of its
 * kind; a list that changes meanwhile ends the look early at worst, and each walk has a bound. */
#ifndef KWITNESS_MEMBERS_BPF_H
#define KWITNESS_MEMBERS_BPF_H

#include "image.bpf.h"
#include "watch.bpf.h"

#define MEMORY_DEPTH 24 /* of a process's memory cgroup below the full one */
#define GROUPS_LOOKED_AT 512
#define ZONES_LOOKED_AT 64
#define LRU_LISTS 5
#define GENERATIONS 4 /* MAX_NR_GENS, include/linux/mmzone.h */
#define ANON_AND_FILE 2

struct member_user {
	struct scratch *scratch; /* its record is the event_oom_memory; the state of the walk is there, too */
};

static __always_inline bool is_below(struct cgroup_subsys_state *css, struct cgroup_subsys_state *full)
{
	u32 depth;

	for (depth = 0; depth < MEMORY_DEPTH && css; depth++) {
		if (css == full)
			return true;
		css = BPF_CORE_READ(css, parent);
	}
	return false;
}

static __always_inline void name_member(struct member_walk *walk, struct task_struct *task, struct event_oom_memory *sums,
					struct event_oom_member *from)
{
	struct event_oom_member *e;

	count_seen(EVENT_OOM_MEMBER);
	e = reserve_record(walk->ring, (void *)walk->victim, sizeof(*e), EVENT_OOM_MEMBER);
	if (!e)
		return;
	stamp(&e->header, sizeof(*e), EVENT_OOM_MEMBER);
	e->process = key_of(task);
	e->victim = sums->victim;
	e->anon_bytes = from->anon_bytes;
	e->file_bytes = from->file_bytes;
	e->shmem_bytes = from->shmem_bytes;
	e->swap_bytes = from->swap_bytes;
	e->private_bytes = from->private_bytes;
	e->memory_cgroup_id = from->memory_cgroup_id;
	e->member_flags = from->member_flags;
	e->uid = BPF_CORE_READ(task, cred, uid.val);
	e->oom_score_adj = BPF_CORE_READ(task, signal, oom_score_adj);
	BPF_CORE_READ_STR_INTO(&e->comm, task, comm);
	bpf_ringbuf_submit(e, 0);
	count_submitted(EVENT_OOM_MEMBER);
	sums->named++;
}

/* `process`: struct task_struct *; `memory`: its struct mm_struct *. Global: see share.bpf.h. */
__weak __noinline int look_at_member(u32 slot, u64 process, u64 memory)
{
	struct scratch *s = scratch_at(slot);
	struct task_struct *task = (void *)process;
	struct mm_struct *mm = (void *)memory;
	struct cgroup_subsys_state *css = memory_css(task);
	struct event_oom_member found = {};
	struct event_oom_memory *sums;
	struct member_walk *walk;

	if (!s || !mm)
		return 0;
	walk = &s->members;
	sums = (void *)s->record;
	if (walk->full && !is_below(css, (void *)walk->full))
		return 0;
	found.anon_bytes = rss_pages(mm, RSS_ANON) * page_bytes;
	found.file_bytes = rss_pages(mm, RSS_FILE) * page_bytes;
	found.shmem_bytes = rss_pages(mm, RSS_SHMEM) * page_bytes;
	found.swap_bytes = rss_pages(mm, RSS_SWAP) * page_bytes;
	found.private_bytes = BPF_CORE_READ(mm, data_vm) * page_bytes;
	found.memory_cgroup_id = BPF_CORE_READ(css, cgroup, kn, id);
	if (process == walk->victim)
		found.member_flags |= MEMBER_VICTIM;
	if (process == walk->trigger)
		found.member_flags |= MEMBER_TRIGGER;
	if (process != walk->victim && (BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT))
		found.member_flags |= MEMBER_DYING;
	sums->members++;
	sums->anon_bytes += found.anon_bytes;
	sums->file_bytes += found.file_bytes;
	sums->shmem_bytes += found.shmem_bytes;
	sums->swap_bytes += found.swap_bytes;
	if (!(found.member_flags & (MEMBER_VICTIM | MEMBER_TRIGGER)) &&
	    found.anon_bytes + found.shmem_bytes + found.file_bytes < walk->part_bytes)
		return 0;
	if (sums->named >= MEMBERS_NAMED && !(found.member_flags & (MEMBER_VICTIM | MEMBER_TRIGGER))) {
		sums->look_flags |= LOOK_CUT;
		return 0;
	}
	name_member(walk, task, sums, &found);
	return 0;
}

static long on_member(u32 index, struct member_user *user)
{
	struct scratch *s = user->scratch;
	struct task_struct *task = (void *)s->members.task;
	struct list_head *next;

	if (!(BPF_CORE_READ(task, flags) & PF_KTHREAD))
		look_at_member(s->slot, s->members.task, (u64)BPF_CORE_READ(task, mm));
	next = BPF_CORE_READ(task, tasks.next);
	if (!next) {
		s->members.finished = 1;
		return 1;
	}
	s->members.task = (u64)next - bpf_core_field_offset(struct task_struct, tasks);
	if (s->members.task == s->members.first) {
		s->members.finished = 2;
		return 1;
	}
	return 0;
}

struct list_walk {
	struct scratch *scratch;
	struct mem_cgroup *memcg;
	void *zoneref;
};

/* With the multi-generational LRU the pages are in generations, and in no list but the unevictable one. */
static __always_inline void add_generations(struct event_oom_memory *sums, struct mem_cgroup_per_node *node, u32 zone)
{
	u32 zones, generation;
	s64 anon, file;
	void *at;

	if (!bpf_core_field_exists(node->lruvec.lrugen.nr_pages))
		return;
	zones = bpf_core_field_size(node->lruvec.lrugen.nr_pages) / (GENERATIONS * ANON_AND_FILE * sizeof(anon));
	at = (void *)node + bpf_core_field_offset(struct mem_cgroup_per_node, lruvec.lrugen.nr_pages) + zone * sizeof(anon);
#pragma unroll
	for (generation = 0; generation < GENERATIONS; generation++) {
		anon = file = 0;
		bpf_probe_read_kernel(&anon, sizeof(anon), at + generation * ANON_AND_FILE * zones * sizeof(anon));
		bpf_probe_read_kernel(&file, sizeof(file), at + (generation * ANON_AND_FILE + 1) * zones * sizeof(anon));
		sums->anon_list_bytes += anon > 0 ? anon * page_bytes : 0;
		sums->file_list_bytes += file > 0 ? file * page_bytes : 0;
	}
}

static long on_lists_of_zone(u32 index, struct list_walk *walk)
{
	struct event_oom_memory *sums = (void *)walk->scratch->record;
	struct zoneref *zoneref = walk->zoneref;
	struct zone *zone = BPF_CORE_READ(zoneref, zone);
	u32 lists = bpf_core_enum_value(enum lru_list, NR_LRU_LISTS);
	struct mem_cgroup_per_node *node = NULL;
	u64 pages[LRU_LISTS] = {};
	u32 id, at;

	if (!zone)
		return 1;
	id = BPF_CORE_READ(zone, zone_pgdat, node_id);
	at = BPF_CORE_READ(zoneref, zone_idx);
	bpf_probe_read_kernel(&node, sizeof(node),
			      (void *)walk->memcg + bpf_core_field_offset(struct mem_cgroup, nodeinfo) + id * sizeof(node));
	bpf_probe_read_kernel(pages, sizeof(pages),
			      (void *)node + bpf_core_field_offset(struct mem_cgroup_per_node, lru_zone_size) +
				  at * lists * sizeof(pages[0]));
	/* enum lru_list: inactive and active anonymous, inactive and active file, unevictable */
	sums->anon_list_bytes += (pages[0] + pages[1]) * page_bytes;
	sums->file_list_bytes += (pages[2] + pages[3]) * page_bytes;
	sums->unevictable_bytes += pages[4] * page_bytes;
	add_generations(sums, node, at);
	walk->zoneref += bpf_core_type_size(struct zoneref);
	return 0;
}

struct group_walk {
	struct scratch *scratch;
	struct cgroup_subsys_state *css;
	struct cgroup_subsys_state *full;
	void *zonerefs;
	u32 finished;
};

/* The next struct cgroup_subsys_state * of the subtree, parents before children; 0 after the last. Global: see share.bpf.h. */
__weak __noinline u64 next_group(u64 group, u64 full)
{
	struct cgroup_subsys_state *css = (void *)group;
	const u64 sibling = bpf_core_field_offset(struct cgroup_subsys_state, sibling);
	const u64 children = bpf_core_field_offset(struct cgroup_subsys_state, children);
	struct cgroup_subsys_state *parent;
	struct list_head *next;
	u32 depth;

	next = BPF_CORE_READ(css, children.next);
	if (next && (void *)next != (void *)css + children)
		return (u64)next - sibling;
	for (depth = 0; depth < MEMORY_DEPTH; depth++) {
		if ((u64)css == full)
			return 0;
		parent = BPF_CORE_READ(css, parent);
		next = BPF_CORE_READ(css, sibling.next);
		if (!parent || !next)
			return 0;
		if ((void *)next != (void *)parent + children)
			return (u64)next - sibling;
		css = parent;
	}
	return 0;
}

static long on_group(u32 index, struct group_walk *walk)
{
	struct event_oom_memory *sums = (void *)walk->scratch->record;
	struct cgroup_subsys_state *css = walk->css;
	struct list_walk lists = {};

	lists.scratch = walk->scratch;
	lists.memcg = (void *)css - bpf_core_field_offset(struct mem_cgroup, css);
	lists.zoneref = walk->zonerefs;
	bpf_loop(ZONES_LOOKED_AT, on_lists_of_zone, &lists, 0);
	sums->groups++;
	walk->css = (void *)next_group((u64)css, (u64)walk->full);
	if (walk->css)
		return 0;
	walk->finished = 1;
	return 1;
}

/* What the memory consists of, of the full cgroup and all below it. */
static __always_inline void fill_parts(struct scratch *s, struct mem_cgroup *full, void *zonerefs)
{
	struct event_oom_memory *sums = (void *)s->record;
	struct mem_cgroup_per_node *any = NULL;
	struct group_walk walk = {};

	if (bpf_core_field_exists(full->kmem))
		sums->kernel_bytes = BPF_CORE_READ(full, kmem.usage.counter) * page_bytes;
	if (!zonerefs || !bpf_core_field_exists(any->lru_zone_size))
		return;
	walk.scratch = s;
	walk.css = walk.full = (void *)full + bpf_core_field_offset(struct mem_cgroup, css);
	walk.zonerefs = zonerefs;
	bpf_loop(GROUPS_LOOKED_AT, on_group, &walk, 0);
	if (sums->anon_list_bytes || sums->file_list_bytes || sums->unevictable_bytes)
		sums->look_flags |= LOOK_PARTS_KNOWN;
	if (!walk.finished)
		sums->look_flags |= LOOK_GROUPS_CUT;
}

static __always_inline void tell_members(struct scratch *s, struct task_struct *victim, struct task_struct *trigger,
					 struct mem_cgroup *full, u64 size_bytes, u32 ring)
{
	struct event_oom_memory *sums = (void *)s->record;
	struct member_user user = {s};
	struct member_walk *walk = &s->members;

	walk->victim = (u64)BPF_CORE_READ(victim, group_leader);
	walk->task = walk->first = walk->trigger = (u64)BPF_CORE_READ(trigger, group_leader);
	walk->full = full ? (u64)full + bpf_core_field_offset(struct mem_cgroup, css) : 0;
	walk->part_bytes = size_bytes / MEMBER_PART;
	walk->ring = ring;
	walk->finished = 0;
	if (share_used_up(accountable_user(victim), SHARE_OOM_LOOKS, SECOND_NS / OOM_LOOKS_PER_SECOND,
			  SECOND_NS / OOM_LOOKS_PER_SECOND * OOM_LOOKS_AT_ONCE)) {
		sums->look_flags |= LOOK_SKIPPED;
		look_at_member(s->slot, walk->victim, (u64)BPF_CORE_READ(victim, mm));
		return;
	}
	bpf_loop(MEMBERS_LOOKED_AT, on_member, &user, 0);
	if (walk->finished != 2)
		sums->look_flags |= LOOK_CUT;
}

#endif
