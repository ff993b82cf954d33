/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a thread of a watched process waits for. Included by sample.bpf.c alone, at the place where it is used. */
#ifndef KWITNESS_THREAD_WAIT_BPF_H
#define KWITNESS_THREAD_WAIT_BPF_H

/* The timeout of the call that the thread is in: 0 when it waits for ever. */
static __always_inline bool is_timed(struct pt_regs *regs, u32 number)
{
	switch (number) {
	case __NR_futex:
		return ARG4(regs) != 0;
	case __NR_ppoll:
	case __NR_rt_sigtimedwait:
		return ARG3(regs) != 0;
	case __NR_pselect6:
		return ARG5(regs) != 0;
	case __NR_epoll_pwait:
		return (int)ARG4(regs) >= 0;
#if defined(__NR_poll)
	case __NR_poll:
		return (int)ARG3(regs) >= 0;
	case __NR_select:
		return ARG5(regs) != 0;
	case __NR_epoll_wait:
		return (int)ARG4(regs) >= 0;
#endif
	case __NR_nanosleep:
	case __NR_clock_nanosleep:
		return true;
	}
	return false;
}

/* Whether it waits at a pipe, or in a call that may wait at one. */
static __always_inline bool waits_for_input(struct event_thread_wait *e, u32 handler)
{
	switch (e->call_number) {
	case __NR_ppoll:
	case __NR_pselect6:
	case __NR_epoll_pwait:
#if defined(__NR_poll)
	case __NR_poll:
	case __NR_select:
	case __NR_epoll_wait:
#endif
		return true;
	}
	return e->waits_on == WAIT_PIPE && (handler == ON_READ || handler == ON_READ_VECTOR);
}

/* The kernel names its own functions: no symbol table has to be read for that, and none can be out of date. */
static __always_inline void tell_stack(struct bpf_iter__task *context, struct task_struct *task)
{
	struct small_scratch *s = small_scratch_of(SLOT_STACK);
	struct event_wait_stack *e;
	u64 at[FRAMES] = {};
	long bytes;

	if (!s || bpf_get_task_stack(task, at, sizeof(at), 0) < (long)sizeof(at[0]))
		return;
	e = begin_record(s, struct event_wait_stack, EVENT_WAIT_STACK);
	e->process = key_of(task);
	e->thread = task->pid;
	e->_pad = 0;
	bytes = BPF_SNPRINTF((char *)s->record + sizeof(*e), FRAMES_BYTES, "%pB %pB %pB %pB %pB %pB %pB %pB", at[0], at[1], at[2],
			     at[3], at[4], at[5], at[6], at[7]);
	if (bytes <= 1)
		return;
	if (bytes > FRAMES_BYTES)
		bytes = FRAMES_BYTES;
	e->frames = bytes - 1;
	e->header.record_bytes = sizeof(*e) + bytes - 1;
	write_record(context->meta->seq, e, sizeof(*e) + bytes - 1, EVENT_WAIT_STACK);
}

static __always_inline void sample_thread(struct bpf_iter__task *context, struct task_struct *task)
{
	struct small_scratch *s = small_scratch_of(SLOT_THREAD);
	u32 tgid = task->tgid, state = task->__state;
	struct watched *sums = bpf_map_lookup_elem(&watched_processes, &tgid);
	struct list_head *children, *first;
	struct event_thread_wait *e;
	struct waited waited = {};
	struct pt_regs *regs;
	u32 handler = ON_NOTHING;

	if (!s || !sums || !sums->report_threads || state == STATE_RUNNING)
		return;
	if (++sums->threads_told > 64)
		return; /* one idle pool looks like the next */
	e = begin_record(s, struct event_thread_wait, EVENT_THREAD_WAIT);
	e->process = key_of(task);
	e->thread = task->pid;
	e->thread_state = state;
	e->idle_ns = e->header.time_boottime_ns - sums->idle_since_ns;
	e->call_number = ~0;
	BPF_CORE_READ_STR_INTO(&e->comm, task, comm);
	regs = (void *)bpf_task_pt_regs(task);
	if (regs) {
		e->call_number = NUMBER(regs);
		e->timed = is_timed(regs, e->call_number);
		handler = e->call_number < CALL_NUMBERS ? handlers[e->call_number] : ON_NOTHING;
		if (waits_at_descriptor(handler))
			fill_waited_file(&waited, file_of(task, ARG1(regs)));
		else if (e->call_number == __NR_futex)
			fill_waited_lock(&waited, task, ARG1(regs));
		e->inode = waited.inode;
		e->address_high = waited.high;
		e->address_low = waited.low;
		e->waits_on = waited.object;
		e->family = waited.family;
		e->port = waited.port;
		if (handler == ON_LOCK || handler == ON_FCNTL)
			e->lock_holder = sums->lock_holder;
		if (e->call_number == __NR_wait4 || e->call_number == __NR_waitid) {
			children = (void *)task + bpf_core_field_offset(struct task_struct, children);
			first = BPF_CORE_READ(children, next);
			if (first != children)
				e->child = BPF_CORE_READ(
				    (struct task_struct *)((void *)first - bpf_core_field_offset(struct task_struct, sibling)),
				    tgid);
		}
	}
	if (task->pid == task->tgid && waits_for_input(e, handler) && may_look(sums))
		find_writers(task);
	write_record(context->meta->seq, e, sizeof(*e), EVENT_THREAD_WAIT);
	tell_stack(context, task);
}

#endif
