/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The OOM killer's choice, with the numbers it stood before. */
#include "members.bpf.h"

#define CGROUP_DEPTH 32
#define HOST_ZONES 64
#define FULL_SLACK_PAGES 64 /* MEMCG_CHARGE_BATCH: a charge this large can fail below the limit */

struct full_walk {
	struct mem_cgroup *memcg;
	struct mem_cgroup *locked; /* topmost one whose oom_lock is held */
	struct mem_cgroup *full;   /* first one that is at its limit */
};

static __always_inline u64 usage_pages(struct mem_cgroup *memcg)
{
	return BPF_CORE_READ(memcg, memory.usage.counter);
}

/* The tracepoint does not say which cgroup ran out: it may be an ancestor of the victim's. While the killer works, the
 * whole subtree of the full one holds oom_lock (mem_cgroup_oom_trylock), so the topmost holder is it. Kernels without
 * cgroup v1 have no such lock: there it is the nearest one at its limit. */
static long on_cgroup_step(u32 index, struct full_walk *walk)
{
	struct mem_cgroup *memcg = walk->memcg;
	struct cgroup_subsys_state *parent;
	u64 limit;

	if (bpf_core_field_exists(memcg->oom_lock) && BPF_CORE_READ(memcg, oom_lock))
		walk->locked = memcg;
	limit = BPF_CORE_READ(memcg, memory.max);
	if (!walk->full && usage_pages(memcg) + FULL_SLACK_PAGES >= limit)
		walk->full = memcg;
	parent = BPF_CORE_READ(memcg, css.parent);
	if (!parent)
		return 1;
	walk->memcg = (void *)parent - bpf_core_field_offset(struct mem_cgroup, css);
	return 0;
}

/* Takes and gives a struct mem_cgroup *; 0: none is full. Global: see share.bpf.h. */
__weak __noinline u64 find_full_cgroup(u64 victims)
{
	struct full_walk walk = {};

	walk.memcg = (void *)victims;
	bpf_loop(CGROUP_DEPTH, on_cgroup_step, &walk, 0);
	return (u64)(bpf_core_field_exists(walk.memcg->oom_lock) ? walk.locked : walk.full);
}

static __always_inline struct mem_cgroup *full_cgroup(struct mem_cgroup *victims)
{
	return (void *)find_full_cgroup((u64)victims);
}

struct zone_walk {
	void *zoneref;
	u64 total_pages;
	u64 free_pages;
};

static long on_zone(u32 index, struct zone_walk *walk)
{
	struct zoneref *zoneref = walk->zoneref;
	struct zone *zone = BPF_CORE_READ(zoneref, zone);
	u64 free = 0;

	if (!zone)
		return 1;
	walk->total_pages += BPF_CORE_READ(zone, managed_pages.counter);
	bpf_probe_read_kernel(&free, sizeof(free),
			      (void *)zone + bpf_core_field_offset(struct zone, vm_stat) +
				  bpf_core_enum_value(enum zone_stat_item, NR_FREE_PAGES) * sizeof(free));
	walk->free_pages += free;
	walk->zoneref += bpf_core_type_size(struct zoneref);
	return 0;
}

/* All zones of all nodes, by the fallback list of the node that any memory cgroup's first lruvec belongs to: reachable
 * without kernel symbols, which an unprivileged loader may not read. NULL where there is none. */
static __always_inline void *zonerefs_of(struct mem_cgroup *memcg)
{
	struct mem_cgroup_per_node *node = NULL;
	struct pglist_data *pgdat;

	bpf_probe_read_kernel(&node, sizeof(node), (void *)memcg + bpf_core_field_offset(struct mem_cgroup, nodeinfo));
	pgdat = BPF_CORE_READ(node, lruvec.pgdat);
	if (!pgdat)
		return NULL;
	return (void *)pgdat + bpf_core_field_offset(struct pglist_data, node_zonelists) +
	       bpf_core_field_offset(struct zonelist, _zonerefs);
}

/* Who held the memory and what it consisted of, told of before the kill: whoever reads of the kill knows. */
static __always_inline void tell_memory(struct task_struct *victim, struct task_struct *trigger, struct mem_cgroup *full,
					void *zonerefs, const struct zone_walk *host, u32 ring)
{
	struct event_oom_memory *e;
	struct scratch *s;

	count_seen(EVENT_OOM_MEMORY);
	s = take_scratch(SCRATCHES);
	if (!s) {
		count_lost(EVENT_OOM_MEMORY, LOSS_NESTED);
		return;
	}
	e = begin_record(s, struct event_oom_memory, EVENT_OOM_MEMORY);
	e->victim = key_of(victim);
	if (full) {
		e->limit_bytes = BPF_CORE_READ(full, memory.max) * page_bytes;
		e->usage_bytes = usage_pages(full) * page_bytes;
		e->memory_cgroup_id = BPF_CORE_READ(full, css.cgroup, kn, id);
		fill_parts(s, full, zonerefs);
	} else {
		e->limit_bytes = host->total_pages * page_bytes;
		e->usage_bytes = (host->total_pages - host->free_pages) * page_bytes;
	}
	tell_members(s, victim, trigger, full, e->limit_bytes, ring);
	submit_record(s, ring, victim, EVENT_OOM_MEMORY, false);
	give_back(s);
}

/* Attached before on_oom_kill. A program of its own: in one, the verifier looks at the record of the kill once for each way
 * through the walk over the members, and the start of the observer takes that much longer. */
SEC("tp_btf/mark_victim")
int BPF_PROG(on_oom_memory, struct task_struct *victim)
{
	struct task_struct *trigger = bpf_get_current_task_btf();
	struct cgroup_subsys_state *css = memory_css(victim);
	u32 ring = is_watched(victim->tgid, victim) ? RING_LIFECYCLE : RING_UNWATCHED;
	struct zone_walk host = {};
	struct mem_cgroup *memcg;
	void *zonerefs;

	if (!css)
		return 0;
	memcg = (void *)css - bpf_core_field_offset(struct mem_cgroup, css);
	host.zoneref = zonerefs = zonerefs_of(memcg);
	if (zonerefs)
		bpf_loop(HOST_ZONES, on_zone, &host, 0);
	tell_memory(victim, trigger, full_cgroup(memcg), zonerefs, &host, ring);
	return 0;
}

/* The victim is the argument (since 6.9, 72ba14deb40a); current is the task whose allocation failed, often another one. */
SEC("tp_btf/mark_victim")
int BPF_PROG(on_oom_kill, struct task_struct *victim)
{
	struct task_struct *trigger = bpf_get_current_task_btf();
	struct mm_struct *mm = BPF_CORE_READ(victim, mm);
	struct cgroup_subsys_state *css = memory_css(victim);
	u32 ring = is_watched(victim->tgid, victim) ? RING_LIFECYCLE : RING_UNWATCHED;
	struct mem_cgroup *memcg = NULL, *full = NULL;
	struct zone_walk host = {};
	struct event_oom_kill *e;
	void *zonerefs = NULL;
	struct scratch *s;

	if (css) {
		memcg = (void *)css - bpf_core_field_offset(struct mem_cgroup, css);
		host.zoneref = zonerefs = zonerefs_of(memcg);
		if (zonerefs)
			bpf_loop(HOST_ZONES, on_zone, &host, 0);
		full = full_cgroup(memcg);
	}
	count_seen(EVENT_OOM_KILL);
	s = take_scratch(SCRATCHES);
	if (!s) {
		count_lost(EVENT_OOM_KILL, LOSS_NESTED);
		return 0;
	}
	e = begin_record(s, struct event_oom_kill, EVENT_OOM_KILL);
	e->victim = key_of(victim);
	e->trigger = key_of(trigger);
	e->oom_score_adj = BPF_CORE_READ(victim, signal, oom_score_adj);
	BPF_CORE_READ_STR_INTO(&e->victim_comm, victim, group_leader, comm);
	BPF_CORE_READ_STR_INTO(&e->trigger_comm, trigger, group_leader, comm);
	if (mm) {
		e->anon_rss_bytes = rss_pages(mm, RSS_ANON) * page_bytes;
		e->file_rss_bytes = rss_pages(mm, RSS_FILE) * page_bytes;
		e->shmem_rss_bytes = rss_pages(mm, RSS_SHMEM) * page_bytes;
	}
	if (css) {
		e->host_total_bytes = host.total_pages * page_bytes;
		e->host_free_bytes = host.free_pages * page_bytes;
		if (full) {
			e->scope = OOM_SCOPE_CGROUP;
			e->limit_bytes = BPF_CORE_READ(full, memory.max) * page_bytes;
			e->usage_bytes = usage_pages(full) * page_bytes;
			e->memory_cgroup_id = BPF_CORE_READ(full, css.cgroup, kn, id);
			e->memory_cgroup = append_cgroup(s, BPF_CORE_READ(full, css.cgroup));
		}
		e->victim_cgroup = append_cgroup(s, BPF_CORE_READ(css, cgroup));
	}
	submit_record(s, ring, victim, EVENT_OOM_KILL, true);
	give_back(s);
	return 0;
}
