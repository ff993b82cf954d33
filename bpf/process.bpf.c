/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The life of processes: fork, exec, title, exit. All on scheduler tracepoints, which cost other work nothing. */
#include "image.bpf.h"
#include "openfiles.bpf.h"
#include "watch.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* In the parent's context, before the child first runs: so a fork is always older than anything the child does. */
/* Of the parent, at the fork: a later sample may count threads that came afterwards. */
static __always_inline void tell_threads(struct task_struct *parent, struct task_struct *child)
{
	u32 threads = BPF_CORE_READ(parent, signal, nr_threads);
	struct event_threaded_fork *e;

	if (threads < 2)
		return;
	count_seen(EVENT_THREADED_FORK);
	e = reserve_record(RING_LIFECYCLE, parent, sizeof(*e), EVENT_THREADED_FORK);
	if (!e)
		return;
	stamp(&e->header, sizeof(*e), EVENT_THREADED_FORK);
	e->process = key_of(child);
	e->parent = key_of(parent);
	e->threads = threads;
	bpf_ringbuf_submit(e, wakeup_of(RING_LIFECYCLE, false));
	count_submitted(EVENT_THREADED_FORK);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct task_struct *real_parent;
	struct event_fork *e;
	u32 ring = RING_UNWATCHED;

	count_seen(EVENT_FORK);
	if (child->tgid == parent->tgid) {
		count_filtered(EVENT_FORK, FILTER_THREAD);
		return 0;
	}
	if (child->flags & PF_KTHREAD) {
		count_filtered(EVENT_FORK, FILTER_UNINTERESTING);
		return 0;
	}
	if (is_watched(parent->tgid, parent)) {
		watch(child->tgid);
		ring = RING_LIFECYCLE;
	} else {
		forget_mark(child->tgid);
	}
	e = reserve_record(ring, parent, sizeof(*e), EVENT_FORK);
	if (!e)
		return 0;
	stamp(&e->header, sizeof(*e), EVENT_FORK);
	e->process = key_of(child);
	e->parent = key_of(parent);
	real_parent = BPF_CORE_READ(child, real_parent, group_leader);
	if (BPF_CORE_READ(real_parent, tgid) != parent->tgid)
		e->real_parent = key_of(real_parent);
	e->cgroup_id = BPF_CORE_READ(child, cgroups, dfl_cgrp, kn, id);
	e->uid = BPF_CORE_READ(child, cred, uid.val);
	e->pid_namespace_pid = own_pid(child, NULL);
	BPF_CORE_READ_STR_INTO(&e->comm, child, comm);
	bpf_ringbuf_submit(e, wakeup_of(ring, false));
	count_submitted(EVENT_FORK);
	if (ring == RING_LIFECYCLE)
		tell_threads(parent, child);
	return 0;
}

/* After the point of no return: the new mm holds the new argv and environment, and its first page was just written, so it is
 * resident. A thread that execs has already taken the leader's identity (de_thread). */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	bool watched, first = false;
	struct event_exec *e;
	struct scratch *s;
	u64 start, bytes;
	u8 *room;

	count_seen(EVENT_EXEC);
	if (is_self(task->tgid)) {
		count_filtered(EVENT_EXEC, FILTER_SELF);
		return 0;
	}
	s = take_scratch(SCRATCHES);
	if (!s) {
		count_lost(EVENT_EXEC, LOSS_NESTED);
		return 0;
	}
	e = begin_record(s, struct event_exec, EVENT_EXEC);
	fill_image(s, e, task);
	e->argc = bprm->argc;

	start = BPF_CORE_READ(mm, arg_start);
	bytes = BPF_CORE_READ(mm, arg_end) - start;
	room = text_room(s);
	if (room && bytes > TEXT_BYTES) {
		e->image_flags |= IMAGE_ARGV_CUT;
		if (bpf_probe_read_user(room, ARGV_HEAD_BYTES, (void *)start) ||
		    bpf_probe_read_user(room + ARGV_TAIL_AT, ARGV_TAIL_BYTES, (void *)(start + bytes - ARGV_TAIL_BYTES))) {
			bytes = 0;
			e->image_flags |= IMAGE_ARGV_UNREADABLE;
		} else {
			mark_cut(room);
			bytes = TEXT_BYTES;
		}
	} else if (room && bytes && bpf_probe_read_user(room, bytes, (void *)start)) {
		bytes = 0;
		e->image_flags |= IMAGE_ARGV_UNREADABLE;
	}
	if (room && bytes <= TEXT_BYTES) {
		e->argv = bytes;
		s->used += bytes;
	}
	watched = is_watched(task->tgid, task);
	if (append_environ(s, mm, &e->environ, &e->image_flags) && !watched) {
		watch(task->tgid); /* at once, not when user space has read of it: its first files count too */
		first = true;	   /* the reader may have to attach the hooks for system calls, and the task runs already */
		watched = true;
	}
	submit_record(s, watched ? RING_LIFECYCLE : RING_UNWATCHED, task, EVENT_EXEC, first);
	give_back(s);
	return 0;
}

/* prctl(PR_SET_NAME), which setproctitle calls after it has written the title over argv. */
SEC("tp_btf/task_rename")
int BPF_PROG(on_title, struct task_struct *task, const char *comm)
{
	struct task_struct *current = bpf_get_current_task_btf();
	u64 start = BPF_CORE_READ(task, mm, arg_start);
	struct event_title *e;
	struct scratch *s;
	bool watched;

	count_seen(EVENT_TITLE);
	if (is_self(task->tgid)) {
		count_filtered(EVENT_TITLE, FILTER_SELF);
		return 0;
	}
	if (task->pid != task->tgid) {
		count_filtered(EVENT_TITLE, FILTER_THREAD);
		return 0;
	}
	/* exec renames too, before it has set up the new mm's arguments: its own record follows */
	if (!start) {
		count_filtered(EVENT_TITLE, FILTER_UNINTERESTING);
		return 0;
	}
	/* what it is called at its end is in its exit record */
	watched = is_watched(task->tgid, task);
	if (share_used_up(accountable_user(task), watched ? SHARE_TITLES : SHARE_UNWATCHED_TITLES, SECOND_NS / TITLES_PER_SECOND,
			  SECOND_NS / TITLES_PER_SECOND * TITLES_AT_ONCE)) {
		count_filtered(EVENT_TITLE, FILTER_RATE_LIMIT);
		return 0;
	}
	s = take_scratch(SCRATCHES);
	if (!s) {
		count_lost(EVENT_TITLE, LOSS_NESTED);
		return 0;
	}
	e = begin_record(s, struct event_title, EVENT_TITLE);
	e->process = key_of(task);
	bpf_probe_read_kernel_str(e->comm, sizeof(e->comm), comm);
	if (task == current)
		e->title = append_user_string(s, (void *)start, 512);
	submit_record(s, watched ? RING_LIFECYCLE : RING_UNWATCHED, task, EVENT_TITLE, false);
	give_back(s);
	return 0;
}

/* signal->* holds what threads that are already reaped left; this thread and the leader are not among them yet. */
#define group_sum(task, leader, group, own) \
	(BPF_CORE_READ(task, signal, group) + BPF_CORE_READ(task, own) + ((leader) == (task) ? 0 : BPF_CORE_READ(leader, own)))

static __always_inline void note_dead_thread(struct task_struct *task)
{
	struct process_key key = key_of(task);
	struct dead_threads *known, sums = {};

	sums.run_delay_ns = BPF_CORE_READ(task, sched_info.run_delay);
	sums.read_bytes = BPF_CORE_READ(task, ioac.read_bytes);
	sums.written_bytes = BPF_CORE_READ(task, ioac.write_bytes);
	sums.read_call_bytes = BPF_CORE_READ(task, ioac.rchar);
	sums.write_call_bytes = BPF_CORE_READ(task, ioac.wchar);
	/* two threads may end at once: the second one of a process finds the entry of the first */
	if (!bpf_map_update_elem(&dead_threads, &key, &sums, BPF_NOEXIST))
		return;
	known = bpf_map_lookup_elem(&dead_threads, &key);
	if (!known)
		return;
	__sync_fetch_and_add(&known->run_delay_ns, sums.run_delay_ns);
	__sync_fetch_and_add(&known->read_bytes, sums.read_bytes);
	__sync_fetch_and_add(&known->written_bytes, sums.written_bytes);
	__sync_fetch_and_add(&known->read_call_bytes, sums.read_call_bytes);
	__sync_fetch_and_add(&known->write_call_bytes, sums.write_call_bytes);
}

static __always_inline int process_exit(struct task_struct *task, bool group_dead)
{
	struct task_struct *leader;
	struct mm_struct *mm;
	struct event_exit *e;
	struct scratch *s;
	struct dead_threads *dead;
	u64 pages;
	bool watched;
	u32 status;

	count_seen(EVENT_EXIT);
	if (task->flags & PF_KTHREAD) {
		count_filtered(EVENT_EXIT, FILTER_UNINTERESTING);
		return 0;
	}
	if (!group_dead) {
		note_dead_thread(task);
		count_filtered(EVENT_EXIT, FILTER_THREAD);
		return 0;
	}
	if (is_self(task->tgid)) {
		count_filtered(EVENT_EXIT, FILTER_SELF);
		return 0;
	}
	watched = unwatch(task->tgid, task);
	leader = BPF_CORE_READ(task, group_leader);
	status = wait_status(leader);
	/* before the exit record, and in a ring that is read after the exit's: whoever reads the exit finds the files waiting */
	if (status)
		report_open_files(task, watched, FILE_AT_DEATH, status & 0x7f);

	s = take_scratch(SCRATCHES);
	if (!s) {
		count_lost(EVENT_EXIT, LOSS_NESTED);
		return 0;
	}
	e = begin_record(s, struct event_exit, EVENT_EXIT);
	e->process = key_of(task);
	e->real_parent = key_of(BPF_CORE_READ(leader, real_parent));
	e->wait_status = status;
	e->uid = BPF_CORE_READ(task, cred, uid.val);
	e->user_cpu_ns = group_sum(task, leader, utime, utime);
	e->system_cpu_ns = group_sum(task, leader, stime, stime);
	e->cpu_runtime_ns = group_sum(task, leader, sum_sched_runtime, se.sum_exec_runtime);
	e->read_bytes = BPF_CORE_READ(task, ioac.read_bytes);
	e->written_bytes = BPF_CORE_READ(task, ioac.write_bytes);
	e->read_call_bytes = BPF_CORE_READ(task, ioac.rchar);
	e->write_call_bytes = BPF_CORE_READ(task, ioac.wchar);
	e->run_delay_ns = BPF_CORE_READ(task, sched_info.run_delay);
	dead = bpf_map_lookup_elem(&dead_threads, &e->process);
	if (dead) {
		e->read_bytes += dead->read_bytes;
		e->written_bytes += dead->written_bytes;
		e->read_call_bytes += dead->read_call_bytes;
		e->write_call_bytes += dead->write_call_bytes;
		e->run_delay_ns += dead->run_delay_ns;
		bpf_map_delete_elem(&dead_threads, &e->process);
	}
	BPF_CORE_READ_STR_INTO(&e->comm, leader, comm);

	/* Since 6.14 the hook comes before exit_mm: the image's own peak and the final title are there. Else the process's
	 * peak over all its images, which the kernel has just brought up to date. */
	mm = BPF_CORE_READ(task, mm);
	if (mm) {
		pages = rss_pages(mm, RSS_FILE) + rss_pages(mm, RSS_ANON) + rss_pages(mm, RSS_SHMEM);
		if (BPF_CORE_READ(mm, hiwater_rss) > pages)
			pages = BPF_CORE_READ(mm, hiwater_rss);
		e->title = append_user_string(s, (void *)BPF_CORE_READ(mm, arg_start), 512);
	} else {
		pages = BPF_CORE_READ(task, signal, maxrss);
	}
	e->peak_rss_bytes = pages * page_bytes;
	submit_record(s, watched ? RING_LIFECYCLE : RING_UNWATCHED, task, EVENT_EXIT, watched && status);
	give_back(s);
	return 0;
}

/* Linux 6.14+ (0aa53d9b2aed, "exit: add group_dead to sched_process_exit"): the kernel says whether it was the last thread. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task, bool group_dead)
{
	return process_exit(task, group_dead);
}

/* Before: the count of live threads has been taken down already. Two last threads at once can both see zero; user space
 * keeps the first. The loader picks one of the two programs by the tracepoint's BTF. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit_legacy, struct task_struct *task)
{
	return process_exit(task, BPF_CORE_READ(task, signal, live.counter) == 0);
}
