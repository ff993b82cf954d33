/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* State over time, from an iterator over all tasks once a second: the cost is per look, not per event. */
#include "calls.bpf.h"
#include "descriptors.bpf.h"
#include "holders.bpf.h"
#include "image.bpf.h"
#include "kernel_net.h"
#include "runtime.bpf.h"
#include "waited.bpf.h"

#define CGROUP_DEPTH 32
#define IDLE_LOOKS 3
#define LOOKS_PER_MINUTE 60
#define WORKING_NS 2000000	   /* CPU per look that is more than a poll's */
#define NEIGHBOUR_PAGES 4096	   /* growth that is told: 16 MiB at 4 KiB */
#define NEIGHBOUR_SHARED_PAGES 256 /* inside a watched process's memory cgroup: 1 MiB */
#define NEIGHBOUR_CPU_SHIFT 3	   /* an eighth of one CPU: several can crowd somebody out together */
#define UNLIMITED_PAGES (1ULL << 50)
#define FRAMES 8
#define FRAMES_BYTES 512

struct thread_walk {
	struct event_process_sample *e;
	struct list_head *head;
	struct list_head *node;
};

static long on_thread(u32 index, struct thread_walk *walk)
{
	struct list_head *node = walk->node;
	struct task_struct *thread;
	u32 state;

	if (!node || node == walk->head)
		return 1;
	thread = (void *)node - bpf_core_field_offset(struct task_struct, thread_node);
	walk->e->cpu_runtime_ns += BPF_CORE_READ(thread, se.sum_exec_runtime);
	walk->e->run_delay_ns += BPF_CORE_READ(thread, sched_info.run_delay);
	walk->e->voluntary_switches += BPF_CORE_READ(thread, nvcsw);
	walk->e->involuntary_switches += BPF_CORE_READ(thread, nivcsw);
	walk->e->major_faults += BPF_CORE_READ(thread, maj_flt);
	walk->e->threads++;
	state = BPF_CORE_READ(thread, __state);
	if (state == STATE_RUNNING)
		walk->e->running_threads++;
	else if (state & STATE_UNINTERRUPTIBLE)
		walk->e->disk_threads++;
	walk->node = BPF_CORE_READ(node, next);
	if (BPF_CORE_READ(thread, exit_state)) /* a leader that ended first: among the dead threads */
		return 0;
	walk->e->read_bytes += BPF_CORE_READ(thread, ioac.read_bytes);
	walk->e->written_bytes += BPF_CORE_READ(thread, ioac.write_bytes);
	walk->e->read_call_bytes += BPF_CORE_READ(thread, ioac.rchar);
	walk->e->write_call_bytes += BPF_CORE_READ(thread, ioac.wchar);
	return 0;
}

struct limit_walk {
	struct mem_cgroup *memcg;
	struct mem_cgroup *tightest;
	u64 limit_pages;
};

static long on_limit_step(u32 index, struct limit_walk *walk)
{
	struct mem_cgroup *memcg = walk->memcg;
	struct cgroup_subsys_state *parent;
	u64 limit = BPF_CORE_READ(memcg, memory.max);

	if (limit < walk->limit_pages) {
		walk->limit_pages = limit;
		walk->tightest = memcg;
	}
	parent = BPF_CORE_READ(memcg, css.parent);
	if (!parent)
		return 1;
	walk->memcg = (void *)parent - bpf_core_field_offset(struct mem_cgroup, css);
	return 0;
}

static __always_inline u64 css_id(struct cgroup_subsys_state *css)
{
	return BPF_CORE_READ(css, cgroup, kn, id);
}

/* Cgroup v1 lets a task wait for memory instead of killing one (memory.oom_control). */
static __always_inline void tell_memory_wait(struct bpf_iter__task *context, struct process_key process, struct mem_cgroup *full)
{
	struct event_memory_wait e;

	if (!bpf_core_field_exists(full->under_oom) || !BPF_CORE_READ(full, under_oom) || !BPF_CORE_READ(full, oom_kill_disable))
		return;
	stamp(&e.header, sizeof(e), EVENT_MEMORY_WAIT);
	e.process = process;
	e.memory_cgroup_id = BPF_CORE_READ(full, css.cgroup, kn, id);
	e.limit_bytes = BPF_CORE_READ(full, memory.max) * page_bytes;
	e.usage_bytes = BPF_CORE_READ(full, memory.usage.counter) * page_bytes;
	e.killer_disabled = 1;
	write_record(context->meta->seq, &e, sizeof(e), EVENT_MEMORY_WAIT);
}

static __always_inline void fill_cgroups(struct bpf_iter__task *context, struct event_process_sample *e, struct task_struct *task)
{
	struct cgroup_subsys_state *css = memory_css(task);
	struct psi_group *pressure = BPF_CORE_READ(task, cgroups, dfl_cgrp, psi);
	struct mem_cgroup *tightest;
	struct limit_walk walk = {};
	u64 id, now = e->header.time_boottime_ns;

	e->cpu_periods = BPF_CORE_READ(task, sched_task_group, cfs_bandwidth.nr_periods);
	e->throttled_periods = BPF_CORE_READ(task, sched_task_group, cfs_bandwidth.nr_throttled);
	e->throttled_ns = BPF_CORE_READ(task, sched_task_group, cfs_bandwidth.throttled_time);
	if (pressure) { /* total[PSI_AVGS][…], include/linux/psi_types.h */
		e->io_stall_ns = BPF_CORE_READ(pressure, total[0]);
		e->memory_stall_ns = BPF_CORE_READ(pressure, total[2]);
		e->cpu_stall_ns = BPF_CORE_READ(pressure, total[4]);
	}
	if (!css)
		return;
	e->memory_cgroup_id = id = css_id(css);
	walk.memcg = (void *)css - bpf_core_field_offset(struct mem_cgroup, css);
	walk.limit_pages = UNLIMITED_PAGES;
	bpf_loop(CGROUP_DEPTH, on_limit_step, &walk, 0);
	tightest = walk.tightest;
	if (!tightest)
		return;
	tell_memory_wait(context, e->process, tightest);
	e->memory_limit_bytes = walk.limit_pages * page_bytes;
	e->memory_usage_bytes = BPF_CORE_READ(tightest, memory.usage.counter) * page_bytes;
	if (bpf_core_field_exists(tightest->memory.failcnt))
		e->memory_failures = BPF_CORE_READ(tightest, memory.failcnt);
	/* only where there is a limit is sharing it of interest: everybody shares the root */
	bpf_map_update_elem(&watched_cgroups, &id, &now, BPF_ANY);
	id = css_id((void *)tightest + bpf_core_field_offset(struct mem_cgroup, css));
	bpf_map_update_elem(&watched_cgroups, &id, &now, BPF_ANY);
}

/* Whether this look is worth a record: a process that goes on doing nothing is told of three times and then once a minute. At
 * its third idle look, and once a minute, its threads are told of one by one. */
static __always_inline bool note_idleness(struct event_process_sample *e, struct watched *sums)
{
	u64 bytes = e->read_call_bytes + e->write_call_bytes;
	bool works = e->cpu_runtime_ns - sums->last_runtime_ns > WORKING_NS || bytes != sums->last_call_bytes || e->running_threads;

	sums->report_threads = sums->threads_told = 0;
	sums->last_runtime_ns = e->cpu_runtime_ns;
	sums->last_call_bytes = bytes;
	if (works) {
		sums->idle_since_ns = 0;
		sums->idle_looks = 0;
		return true;
	}
	if (!sums->idle_since_ns)
		sums->idle_since_ns = e->header.time_boottime_ns;
	sums->idle_looks++;
	sums->report_threads = sums->idle_looks == IDLE_LOOKS || sums->idle_looks % LOOKS_PER_MINUTE == 0;
	return sums->idle_looks <= IDLE_LOOKS || sums->report_threads;
}

static __always_inline void sample_process(struct bpf_iter__task *context, struct task_struct *task)
{
	struct small_scratch *s = small_scratch_of(SLOT_SAMPLE);
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct event_process_sample *e;
	struct thread_walk threads = {};
	struct list_head *head;
	struct dead_threads *dead;
	struct watched *sums;
	u64 peak;

	if (!s || !mm) /* it is ending: its exit says all */
		return;
	sums = sums_of(task->tgid, task, EVENT_PROCESS_SAMPLE);
	if (!sums)
		return;
	e = begin_record(s, struct event_process_sample, EVENT_PROCESS_SAMPLE);
	e->process = key_of(task);
	e->anon_bytes = rss_pages(mm, RSS_ANON) * page_bytes;
	e->file_bytes = rss_pages(mm, RSS_FILE) * page_bytes;
	e->shmem_bytes = rss_pages(mm, RSS_SHMEM) * page_bytes;
	e->swap_bytes = rss_pages(mm, RSS_SWAP) * page_bytes;
	peak = BPF_CORE_READ(mm, hiwater_rss) * page_bytes;
	e->peak_rss_bytes = e->anon_bytes + e->file_bytes + e->shmem_bytes;
	if (peak > e->peak_rss_bytes)
		e->peak_rss_bytes = peak;

	e->cpu_runtime_ns = BPF_CORE_READ(task, signal, sum_sched_runtime);
	e->voluntary_switches = BPF_CORE_READ(task, signal, nvcsw);
	e->involuntary_switches = BPF_CORE_READ(task, signal, nivcsw);
	e->major_faults = BPF_CORE_READ(task, signal, maj_flt);
	dead = bpf_map_lookup_elem(&dead_threads, &e->process);
	if (dead) {
		e->read_bytes = dead->read_bytes;
		e->written_bytes = dead->written_bytes;
		e->read_call_bytes = dead->read_call_bytes;
		e->write_call_bytes = dead->write_call_bytes;
	}
	threads.e = e;
	head = (void *)BPF_CORE_READ(task, signal) + bpf_core_field_offset(struct signal_struct, thread_head);
	threads.head = head;
	threads.node = BPF_CORE_READ(head, next);
	bpf_loop(THREADS_PER_PROCESS, on_thread, &threads, 0);

	e->open_descriptors = open_descriptors(task);
	e->descriptor_max = BPF_CORE_READ(task, signal, rlim[RLIMIT_NOFILE].rlim_cur);
	fill_cgroups(context, e, task);
	if (!note_idleness(e, sums))
		return;
	write_record(context->meta->seq, e, sizeof(*e), EVENT_PROCESS_SAMPLE);
}

static __always_inline void look_at_neighbour(struct bpf_iter__task *context, struct task_struct *task)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct cgroup_subsys_state *css = memory_css(task), *parent;
	struct small_scratch *s = small_scratch_of(SLOT_SAMPLE);
	u64 growth, cpu_ns, interval_ns, id;
	struct event_neighbour *e;
	struct neighbour now = {}, *last;
	u32 tgid = task->tgid;
	bool shares;

	if (!mm || !s)
		return;
	now.at_ns = bpf_ktime_get_boot_ns();
	now.start_boottime_ns = BPF_CORE_READ(task, start_boottime);
	now.rss_pages = rss_pages(mm, RSS_ANON) + rss_pages(mm, RSS_SHMEM);
	now.cpu_ns = runtime_of(task);
	last = bpf_map_lookup_elem(&neighbours, &tgid);
	if (!last || last->start_boottime_ns != now.start_boottime_ns) {
		bpf_map_update_elem(&neighbours, &tgid, &now, BPF_ANY);
		return;
	}
	growth = now.rss_pages - last->rss_pages;
	cpu_ns = now.cpu_ns - last->cpu_ns;
	interval_ns = now.at_ns - last->at_ns;
	id = css ? css_id(css) : 0;
	shares = id && bpf_map_lookup_elem(&watched_cgroups, &id);
	if (!shares && css) {
		parent = BPF_CORE_READ(css, parent);
		id = parent ? css_id(parent) : 0;
		shares = id && bpf_map_lookup_elem(&watched_cgroups, &id);
	}
	if ((s64)growth < (s64)(shares ? NEIGHBOUR_SHARED_PAGES : NEIGHBOUR_PAGES) && cpu_ns < interval_ns >> NEIGHBOUR_CPU_SHIFT) {
		/* small steps add up: the growth is measured from the last time it was told */
		last->cpu_ns = now.cpu_ns;
		last->at_ns = now.at_ns;
		if ((s64)growth < 0)
			last->rss_pages = now.rss_pages;
		return;
	}
	bpf_map_update_elem(&neighbours, &tgid, &now, BPF_ANY);
	e = begin_record(s, struct event_neighbour, EVENT_NEIGHBOUR);
	e->process = key_of(task);
	e->rss_bytes = now.rss_pages * page_bytes;
	e->rss_growth_bytes = growth * page_bytes;
	e->cpu_ns = cpu_ns;
	e->interval_ns = interval_ns;
	e->memory_cgroup_id = css ? css_id(css) : 0;
	e->shares_memory_cgroup = shares;
	e->uid = BPF_CORE_READ(task, cred, uid.val);
	BPF_CORE_READ_STR_INTO(&e->comm, task, comm);
	write_record(context->meta->seq, e, sizeof(*e), EVENT_NEIGHBOUR);
}

#include "thread_wait.bpf.h"

SEC("iter/task")
int on_tasks(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;

	if (!task || (task->flags & PF_KTHREAD) || is_self(task->tgid))
		return 0;
	if (!is_watched(task->tgid, task)) {
		if (task->pid == task->tgid)
			look_at_neighbour(context, task);
		return 0;
	}
	if (task->pid == task->tgid)
		sample_process(context, task);
	sample_thread(context, task);
	return 0;
}
