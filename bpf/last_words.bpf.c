/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a thread of a watched process was doing when a signal ended the process: the thread is current, and its memory is still mapped. */
#include "python_frames.bpf.h"
#include "watch.bpf.h"

#define SIGKILL 9
#define SIG_DFL ((void *)0)

/* Of those that kill without an instruction to the whole process first, because they may dump core (kernel/signal.c). */
static __always_inline bool dumps_core(int signal)
{
	/* SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS */
	const u64 signals = 1ULL << 3 | 1ULL << 4 | 1ULL << 5 | 1ULL << 6 | 1ULL << 7 | 1ULL << 8 | 1ULL << 11 | 1ULL << 24 |
			    1ULL << 25 | 1ULL << 31;

	return signal < 32 && signals >> signal & 1;
}

/* The signal that ends this process, or 0. Each of its threads is delivered SIGKILL then, and in an ordinary exit(2), too. */
static __always_inline u32 ends_with(struct task_struct *task, int signal, struct k_sigaction *action)
{
	if (BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT)
		return BPF_CORE_READ(task, signal, group_exit_code) & 0x7f;
	if (dumps_core(signal) && BPF_CORE_READ(action, sa.sa_handler) == SIG_DFL)
		return signal;
	return 0;
}

/* How a thread's state in the interpreter names its thread. */
static __always_inline u64 identity_of(struct task_struct *task)
{
#if defined(__TARGET_ARCH_x86)
	return BPF_CORE_READ(task, thread.fsbase); /* pthread_self(3) */
#else
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	struct upid number = {};
	u32 level = BPF_CORE_READ(pid, level);

	if (level > 32)
		return 0;
	bpf_probe_read_kernel(&number, sizeof(number),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid));
	return number.nr;
#endif
}

static __always_inline bool holds_lock(struct python_walk *w, struct interpreter *known)
{
	u64 lock = known->runtime + w->base;
	u64 holder;
	u32 taken = 0;

	if (known->lock != PYTHON_ABSENT)
		lock = user_pointer(w->interpreter + known->lock);
	holder = user_pointer(lock + known->lock_holder);
	read_user(&taken, sizeof(taken), lock + known->lock_taken);
	return holder == w->thread && taken == 1;
}

/* The process's entry in dying_pythons, with its interpreter looked for. */
static __always_inline struct dying_python *dying_python_of(struct python_context *c, struct task_struct *task)
{
	struct dying_python *known, fresh = {};
	u32 tgid = task->tgid;
	u64 start = BPF_CORE_READ(task, group_leader, start_boottime);

	known = bpf_map_lookup_elem(&dying_pythons, &tgid);
	if (known && known->start_boottime_ns == start)
		return known;
	c->walk->found = 0;
	find_interpreter(c, task);
	fresh.start_boottime_ns = start;
	fresh.base = c->walk->base;
	if (c->walk->found)
		fresh.file = c->walk->file;
	bpf_map_update_elem(&dying_pythons, &tgid, &fresh, BPF_ANY);
	return bpf_map_lookup_elem(&dying_pythons, &tgid);
}

static __always_inline bool is_alone(struct python_walk *w, struct interpreter *known)
{
	return user_pointer(w->interpreter + known->threads) == w->thread && !user_pointer(w->thread + known->next_thread);
}

static __always_inline bool find_thread(struct python_context *c, struct task_struct *task)
{
	struct interpreter *known = c->known;
	struct python_walk *w = c->walk;

	w->next_interpreter = user_pointer(known->runtime + w->base + known->interpreters);
	w->thread = 0;
	w->found = 0;
	w->identity = identity_of(task);
	if (!w->identity || known->thread_id == PYTHON_ABSENT)
		return false;
	bpf_loop(THREAD_STEPS, on_thread_state, c, 0);
	return w->found;
}

static __always_inline void tell_stack(struct python_context *c, struct task_struct *task, u32 signal, u64 began_ns)
{
	struct interpreter *known = c->known;
	struct python_walk *w = c->walk;
	struct scratch *s = c->scratch;
	struct event_python_stack *e;

	e = begin_record(s, struct event_python_stack, EVENT_PYTHON_STACK);
	e->process = key_of(task);
	e->thread = task->pid;
	e->signal = signal;
	e->version = known->version;
	w->frames = 0;
	w->code_type = known->code_type + w->base;
	w->frame = user_pointer(w->thread + known->frame);
	if (known->current != PYTHON_ABSENT)
		w->frame = user_pointer(w->frame + known->current);
	bpf_loop(FRAME_STEPS, on_frame, c, 0);
	if (w->frame)
		w->flags |= PYTHON_CUT;
	e->python_flags = w->flags | PYTHON_RAW;
	e->frames = s->used - sizeof(*e);
	e->walk_ns = bpf_ktime_get_boot_ns() - began_ns;
	submit_record(s, RING_LIFECYCLE, task, EVENT_PYTHON_STACK, false);
}

SEC("tp_btf/signal_deliver")
int BPF_PROG(on_last_words, int signal, struct kernel_siginfo *info, struct k_sigaction *action)
{
	struct python_context c = {};
	struct dying_python *dying;
	struct task_struct *task;
	u64 began_ns;
	u32 ends;

	if (signal != SIGKILL && !dumps_core(signal))
		return 0;
	task = bpf_get_current_task_btf();
	if (is_self(task->tgid) || !is_watched(task->tgid, task))
		return 0;
	ends = ends_with(task, signal, action);
	if (!ends)
		return 0;
	began_ns = bpf_ktime_get_boot_ns();
	c.walk = bpf_map_lookup_elem(&python_walks, &(u32){0});
	if (!c.walk)
		return 0;
	dying = dying_python_of(&c, task);
	if (!dying || !dying->file.inode)
		return 0;
	c.walk->base = dying->base;
	c.known = bpf_map_lookup_elem(&interpreters, &dying->file);
	if (!c.known || !find_thread(&c, task))
		return 0;
	c.walk->flags = 0;
	if (holds_lock(c.walk, c.known))
		c.walk->flags |= PYTHON_HOLDS_LOCK;
	if (is_alone(c.walk, c.known))
		c.walk->flags |= PYTHON_ALONE;
	if (signal != SIGKILL)
		c.walk->flags |= PYTHON_TOOK_SIGNAL;
	if (task->pid == task->tgid)
		c.walk->flags |= PYTHON_MAIN_THREAD;
	count_seen(EVENT_PYTHON_STACK);
	if (!c.walk->flags && /* no thread of note */
	    __sync_fetch_and_add(&dying->threads, 1) >= PYTHON_THREADS) {
		count_filtered(EVENT_PYTHON_STACK, FILTER_LIMIT);
		return 0;
	}
	if (share_used_up(accountable_user(task), SHARE_PYTHON_STACKS, SECOND_NS / PYTHON_STACKS_PER_SECOND,
			  SECOND_NS / PYTHON_STACKS_PER_SECOND * PYTHON_STACKS_AT_ONCE)) {
		count_lost_of(accountable_user(task), EVENT_PYTHON_STACK, LOSS_RATE_LIMIT);
		return 0;
	}
	c.scratch = take_scratch(SCRATCHES);
	if (!c.scratch) {
		count_lost(EVENT_PYTHON_STACK, LOSS_NESTED);
		return 0;
	}
	tell_stack(&c, task, ends, began_ns);
	give_back(c.scratch);
	return 0;
}
