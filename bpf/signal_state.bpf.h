/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* At a signal that can end a process: what the target was doing, and who the sender is. */
#ifndef KWITNESS_SIGNAL_STATE_BPF_H
#define KWITNESS_SIGNAL_STATE_BPF_H

#include "image.bpf.h"
#include "waited.bpf.h"
#include "watch.bpf.h"

#define PF_EXITING 0x00000004 /* include/linux/sched.h */

static __always_inline bool has_pid_namespace(struct task_struct *task)
{
	return BPF_CORE_READ(task, group_leader, thread_pid, level) > 0;
}

/* The first process of a pid namespace that is not the host's: with it, the namespace ends. */
static __always_inline bool is_namespace_init(struct task_struct *task)
{
	return has_pid_namespace(task) && own_pid(task, NULL) == 1;
}

static __always_inline u64 session_of(struct task_struct *task)
{
	u64 pid = 0;

	bpf_probe_read_kernel(&pid, sizeof(pid),
			      (void *)BPF_CORE_READ(task, signal) + bpf_core_field_offset(struct signal_struct, pids) +
				  bpf_core_enum_value(enum pid_type, PIDTYPE_SID) * sizeof(pid));
	return pid;
}

static __always_inline void fill_target(struct event_signal_state *e, struct task_struct *target)
{
	struct mm_struct *mm = BPF_CORE_READ(target, mm);
	u32 handler;
	struct waited waited = {};
	struct pt_regs *regs;

	e->thread = BPF_CORE_READ(target, pid);
	e->on_cpu = !bpf_core_field_exists(target->on_cpu) || BPF_CORE_READ(target, on_cpu);
	e->call_number = ~0;
	e->threads = BPF_CORE_READ(target, signal, nr_threads);
	e->runtime_ns = BPF_CORE_READ(target, signal, sum_sched_runtime) + BPF_CORE_READ(target, se.sum_exec_runtime);
	if (mm) {
		e->anon_bytes = rss_pages(mm, RSS_ANON) * page_bytes;
		e->file_bytes = rss_pages(mm, RSS_FILE) * page_bytes;
		e->shmem_bytes = rss_pages(mm, RSS_SHMEM) * page_bytes;
	}
	if (BPF_CORE_READ(target, signal, tty))
		e->state_flags |= SIGNAL_TERMINAL;
	if (e->on_cpu)
		return;
	/* The signal has woken it already, and it has not run since: its registers are those of its last entry into the kernel. That was
	 * no system call where the number is negative. */
	regs = (void *)bpf_task_pt_regs(target);
	if (!regs)
		return;
	if ((s32)NUMBER(regs) < 0)
		return;
	e->call_number = NUMBER(regs);
	handler = e->call_number < CALL_NUMBERS ? handlers[e->call_number] : ON_NOTHING;
	if (waits_at_descriptor(handler))
		fill_waited_file(&waited, file_of(target, ARG1(regs)));
	else if (e->call_number == __NR_futex)
		fill_waited_lock(&waited, target, ARG1(regs));
	e->inode = waited.inode;
	e->address_high = waited.high;
	e->address_low = waited.low;
	e->waits_on = waited.object;
	e->family = waited.family;
	e->port = waited.port;
}

static __always_inline void fill_sender(struct event_signal_state *e, struct task_struct *sender, struct task_struct *target,
					int signal, bool without_call)
{
	struct task_struct *parent = BPF_CORE_READ(sender, group_leader, real_parent);
	struct task_struct *grandparent = BPF_CORE_READ(parent, group_leader, real_parent);

	e->sender_parent = key_of(parent);
	e->sender_grandparent = key_of(grandparent);
	BPF_CORE_READ_STR_INTO(&e->sender_comm, sender, group_leader, comm);
	BPF_CORE_READ_STR_INTO(&e->parent_comm, parent, group_leader, comm);
	BPF_CORE_READ_STR_INTO(&e->grandparent_comm, grandparent, group_leader, comm);
	e->sender_uid = BPF_CORE_READ(sender, cred, uid.val);
	if (BPF_CORE_READ(sender, flags) & PF_KTHREAD)
		e->state_flags |= SIGNAL_FROM_KERNEL_THREAD;
	if (session_of(sender) == session_of(target))
		e->state_flags |= SIGNAL_SAME_SESSION;
	if (BPF_CORE_READ(sender, signal, leader))
		e->state_flags |= SIGNAL_SESSION_LEADER;
	if (without_call)
		e->state_flags |= SIGNAL_WITHOUT_CALL;
	if (!(BPF_CORE_READ(sender, flags) & PF_EXITING))
		return;
	e->state_flags |= SIGNAL_SENDER_EXITS;
	if (without_call && BPF_CORE_READ(target, pdeath_signal) == signal)
		e->state_flags |= SIGNAL_PARENT_DEATH;
	if (is_namespace_init(sender))
		e->state_flags |= SIGNAL_NAMESPACE_ENDS;
}

/* `without_call`: no process called kill(2). `ignored`: the kernel dropped the signal, because the target ignores it; there is no event_signal then. */
static __always_inline void tell_signal_state(struct task_struct *sender, struct task_struct *target, int signal, int code,
					      bool without_call, bool ignored)
{
	struct event_signal_state *e;

	count_seen(EVENT_SIGNAL_STATE);
	e = reserve_record(RING_LIFECYCLE, target, sizeof(*e), EVENT_SIGNAL_STATE);
	if (!e)
		return;
	stamp(&e->header, sizeof(*e), EVENT_SIGNAL_STATE);
	e->sender = key_of(sender);
	e->target = key_of(target);
	e->signal = signal;
	e->code = code;
	if (ignored)
		e->state_flags |= SIGNAL_IGNORED;
	if (is_namespace_init(target))
		e->state_flags |= SIGNAL_TO_NAMESPACE_INIT;
	fill_target(e, target);
	fill_sender(e, sender, target, signal, without_call);
	BPF_CORE_READ_STR_INTO(&e->target_comm, target, group_leader, comm);
	bpf_ringbuf_submit(e, wakeup_of(RING_LIFECYCLE, false));
	count_submitted(EVENT_SIGNAL_STATE);
}

#endif
