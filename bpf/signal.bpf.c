/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who sent what to whom, and what the target was writing when it heard. */
#include "module.bpf.h"
#include "openfiles.bpf.h"
#include "signal_state.bpf.h"
#include "watch.bpf.h"

#define SIGHUP 1
#define SIGINT 2
#define SIGQUIT 3
#define SIGTERM 15
#define SIGCHLD 17
#define SIGCONT 18
#define SIGSTOP 19
#define SIGTTOU 22
#define SIGURG 23
#define SIGWINCH 28
#define SIGILL 4
#define SIGABRT 6
#define SIGBUS 7
#define SIGFPE 8
#define SIGSEGV 11
#define SI_USER 0
#define SI_KERNEL 128
#define SIG_DFL ((void *)0)
#define TMPFS_MAGIC 0x01021994 /* include/uapi/linux/magic.h */
#define HUGETLBFS_MAGIC 0x958458f6
#define TRACE_SIGNAL_DELIVERED 0
#define TRACE_SIGNAL_IGNORED 1
#define TRACE_SIGNAL_ALREADY_PENDING 2

/* Default action neither ignores nor stops nor continues: without a handler the process dies (signal(7)). */
static __always_inline bool kills_by_default(int signal)
{
	return signal != SIGCHLD && signal != SIGURG && signal != SIGWINCH && (signal < SIGCONT || signal > SIGTTOU);
}

static __always_inline int code_of(struct kernel_siginfo *info)
{
	/* SEND_SIG_NOINFO and SEND_SIG_PRIV, include/linux/sched/signal.h */
	if ((u64)info == 0)
		return SI_USER;
	if ((u64)info == 1)
		return SI_KERNEL;
	return BPF_CORE_READ(info, si_code);
}

static __always_inline void *handler_of(struct task_struct *target, int signal)
{
	void *handler = NULL;
	u32 index = signal - 1;

	if (index >= 64)
		return NULL;
	bpf_probe_read_kernel(&handler, sizeof(handler),
			      (void *)BPF_CORE_READ(target, sighand) + bpf_core_field_offset(struct sighand_struct, action) +
				  index * bpf_core_type_size(struct k_sigaction) +
				  bpf_core_field_offset(struct k_sigaction, sa.sa_handler));
	return handler;
}

/* Kept: what will kill, and what somebody else sends to a handler. Runtimes signal themselves all the time (the JVM's
 * SIGSEGV and SIGUSR2, Go's SIGURG, profiling timers): handled signals of one's own are chatter. A fault that does kill
 * resets its handler first (force_sig), so it counts as unhandled here. */
static __always_inline bool matters(int signal, int code, bool handled, bool own)
{
	if (!handled)
		return kills_by_default(signal);
	if (code <= 0)
		return !own;
	return code == SI_KERNEL && (signal <= SIGQUIT || signal == SIGTERM);
}

/* Job control of a watched process, which may wait for ever for somebody to continue it. */
static __always_inline bool stops(int signal, bool handled, struct task_struct *target)
{
	return signal >= SIGSTOP && signal <= SIGTTOU && !handled && is_watched(target->tgid, target);
}

static __always_inline bool asks_to_end(int signal)
{
	return signal == SIGTERM || signal == SIGINT || signal == SIGHUP || signal == SIGQUIT;
}

/* One that asks a process to end, from another process, and that has no effect: pid 1 of a container without a handler. */
static __always_inline bool is_ignored_request(int signal, int code, struct task_struct *sender, struct task_struct *target,
					       int result)
{
	return result == TRACE_SIGNAL_IGNORED && asks_to_end(signal) && code <= 0 && sender->tgid != target->tgid &&
	       is_watched(target->tgid, target);
}

/* Whether the target's doing is told of with a signal. */
static __always_inline bool can_end(int signal, bool handled, struct task_struct *sender, struct task_struct *target)
{
	if (sender->tgid == target->tgid || (handled && !asks_to_end(signal)))
		return false;
	return is_watched(target->tgid, target) || is_watched(sender->tgid, sender);
}

SEC("tp_btf/signal_generate")
int BPF_PROG(on_signal, int signal, struct kernel_siginfo *info, struct task_struct *target, int group, int result)
{
	struct task_struct *sender = bpf_get_current_task_btf();
	int code = code_of(info);
	bool handled = handler_of(target, signal) != SIG_DFL;
	struct event_signal *e;
	bool watched;
	u64 user;

	count_seen(EVENT_SIGNAL);
	if (result != TRACE_SIGNAL_DELIVERED && result != TRACE_SIGNAL_ALREADY_PENDING) {
		count_filtered(EVENT_SIGNAL, FILTER_UNINTERESTING);
		return 0;
	}
	if (!matters(signal, code, handled, sender->tgid == target->tgid) && !stops(signal, handled, target)) {
		count_filtered(EVENT_SIGNAL, FILTER_UNINTERESTING);
		return 0;
	}
	if (is_self(target->tgid)) {
		count_filtered(EVENT_SIGNAL, FILTER_SELF);
		return 0;
	}
	watched = is_watched(target->tgid, target);
	/* by the target's user, who alone (with root) can signal it: the running task may be anybody when the kernel sends */
	user = accountable_user(target);
	if (share_used_up(user, watched ? SHARE_SIGNALS : SHARE_UNWATCHED_SIGNALS, SECOND_NS / SIGNALS_PER_SECOND,
			  SECOND_NS / SIGNALS_PER_SECOND * SIGNALS_AT_ONCE)) {
		if (watched)
			count_lost_of(user, EVENT_SIGNAL, LOSS_RATE_LIMIT);
		else
			count_filtered(EVENT_SIGNAL, FILTER_RATE_LIMIT);
		return 0;
	}
	e = reserve_record(watched ? RING_LIFECYCLE : RING_UNWATCHED, target, sizeof(*e), EVENT_SIGNAL);
	if (!e)
		return 0;
	stamp(&e->header, sizeof(*e), EVENT_SIGNAL);
	e->sender = key_of(sender);
	e->target = key_of(target);
	e->signal = signal;
	e->code = code;
	e->handled = handled;
	e->sender_uid = BPF_CORE_READ(sender, cred, uid.val);
	BPF_CORE_READ_STR_INTO(&e->sender_comm, sender, comm);
	BPF_CORE_READ_STR_INTO(&e->target_comm, target, comm);
	bpf_ringbuf_submit(e, wakeup_of(watched ? RING_LIFECYCLE : RING_UNWATCHED, false));
	count_submitted(EVENT_SIGNAL);
	return 0;
}

/* A program of its own: where it is refused, signals are told all the same. After on_signal, so that its records come later. */
SEC("tp_btf/signal_generate")
int BPF_PROG(on_signal_state, int signal, struct kernel_siginfo *info, struct task_struct *target, int group, int result)
{
	struct task_struct *sender = bpf_get_current_task_btf();
	bool handled, ignored, kept;
	u64 origin = 0;
	int code;

	if (signal == SIGCHLD || sender->tgid == target->tgid) /* nearly all signals there are */
		return 0;
	handled = handler_of(target, signal) != SIG_DFL;
	code = code_of(info);
	/* read from the arguments: the verifier takes an argument that is a pointer for one that is never NULL (SEND_SIG_NOINFO) */
	bpf_probe_read_kernel(&origin, sizeof(origin), &ctx[1]);
	ignored = is_ignored_request(signal, code, sender, target, result);
	kept = result == TRACE_SIGNAL_DELIVERED || result == TRACE_SIGNAL_ALREADY_PENDING;
	if (is_self(target->tgid))
		return 0;
	if (!ignored && !(kept && matters(signal, code, handled, false) && can_end(signal, handled, sender, target)))
		return 0;
	if (share_used_up(accountable_user(target), SHARE_SIGNAL_STATES, SECOND_NS / SIGNALS_PER_SECOND,
			  SECOND_NS / SIGNALS_PER_SECOND * SIGNALS_AT_ONCE)) {
		count_seen(EVENT_SIGNAL_STATE);
		count_lost_of(accountable_user(target), EVENT_SIGNAL_STATE, LOSS_RATE_LIMIT);
		return 0;
	}
	tell_signal_state(sender, target, signal, code, !origin, ignored);
	return 0;
}

/* In the target's context, as it takes the signal: the last moment at which a shutdown handler has not yet touched its
 * files. Without a handler the death itself reports them. */
SEC("tp_btf/signal_deliver")
int BPF_PROG(on_signal_delivery, int signal, struct kernel_siginfo *info, struct k_sigaction *action)
{
	struct task_struct *task;

	if (signal != SIGTERM && signal != SIGINT && signal != SIGHUP)
		return 0;
	task = bpf_get_current_task_btf();
	if (BPF_CORE_READ(action, sa.sa_handler) == SIG_DFL || is_self(task->tgid))
		return 0;
	report_open_files(task, is_watched(task->tgid, task), FILE_AT_SIGNAL, signal);
	return 0;
}

static __always_inline bool is_crash(int signal)
{
	return signal == SIGSEGV || signal == SIGABRT || signal == SIGBUS || signal == SIGILL || signal == SIGFPE;
}

/* What is mapped at the address that could not be used. */
static __always_inline void tell_fault(struct scratch *s, struct task_struct *task, struct kernel_siginfo *info)
{
	struct vm_area_struct *area;
	struct event_fault *e;
	struct inode *inode;
	struct file *file;
	bool cut = false;
	u64 magic;
	bool changed;

	count_seen(EVENT_FAULT);
	e = begin_record(s, struct event_fault, EVENT_FAULT);
	e->process = key_of(task);
	e->signal = SIGBUS;
	e->code = BPF_CORE_READ(info, si_code);
	e->address = (u64)BPF_CORE_READ(info, _sifields._sigfault._addr);
	area = area_at(BPF_CORE_READ(task, mm), e->address, &changed);
	file = area ? BPF_CORE_READ(area, vm_file) : NULL;
	e->mapping_kind = changed ? MAPPING_UNKNOWN : area ? MAPPING_ANONYMOUS : MAPPING_NONE;
	if (file) {
		inode = BPF_CORE_READ(file, f_inode);
		magic = BPF_CORE_READ(inode, i_sb, s_magic);
		if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFREG || magic == HUGETLBFS_MAGIC)
			e->mapping_kind = MAPPING_OTHER;
		else if (magic == TMPFS_MAGIC)
			e->mapping_kind = MAPPING_MEMORY;
		else
			e->mapping_kind = MAPPING_FILE;
		e->inode = BPF_CORE_READ(inode, i_ino);
		e->device = BPF_CORE_READ(inode, i_sb, s_dev);
		e->size_bytes = BPF_CORE_READ(inode, i_size);
		e->offset_bytes = e->address - BPF_CORE_READ(area, vm_start) + BPF_CORE_READ(area, vm_pgoff) * page_bytes;
		if (BPF_CORE_READ(area, vm_flags) & VM_SHARED)
			e->mapping_flags |= MAPPING_SHARED;
		if (BPF_CORE_READ(area, vm_flags) & VM_WRITE)
			e->mapping_flags |= MAPPING_WRITABLE;
		if (is_deleted(BPF_CORE_READ(file, f_path.dentry)))
			e->mapping_flags |= MAPPING_DELETED;
		e->path = append_path(s, task, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), &cut);
		if (cut)
			e->mapping_flags |= MAPPING_PATH_CUT;
	}
	submit_record(s, is_watched(task->tgid, task) ? RING_LIFECYCLE : RING_UNWATCHED, task, EVENT_FAULT, false);
}

/* A fault, or abort(3): the process dies of what its own thread does right now. A program of its own: where it is refused,
 * signals are told all the same. */
SEC("tp_btf/signal_generate")
int BPF_PROG(on_crash, int signal, struct kernel_siginfo *info, struct task_struct *target, int group, int result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct event_crash *e;
	struct scratch *s;
	struct pt_regs *registers;
	struct vm_area_struct *area;
	struct file *file;
	bool cut = false;
	u64 address;
	bool changed;

	if (!is_crash(signal) || task->tgid != target->tgid || is_self(task->tgid) || handler_of(target, signal) != SIG_DFL)
		return 0;
	count_seen(EVENT_CRASH);
	s = take_scratch(SCRATCHES);
	if (!s) {
		count_lost(EVENT_CRASH, LOSS_NESTED);
		return 0;
	}
	registers = (void *)bpf_task_pt_regs(task);
#if defined(__TARGET_ARCH_x86)
	address = BPF_CORE_READ(registers, ip);
#else
	address = BPF_CORE_READ(registers, pc);
#endif
	e = begin_record(s, struct event_crash, EVENT_CRASH);
	e->process = key_of(task);
	e->thread = task->pid;
	e->signal = signal;
	e->address = address;
	BPF_CORE_READ_STR_INTO(&e->comm, task, comm);
	area = area_at(BPF_CORE_READ(task, mm), address, &changed);
	file = area ? BPF_CORE_READ(area, vm_file) : NULL;
	if (file) {
		e->module_offset = address - BPF_CORE_READ(area, vm_start) + BPF_CORE_READ(area, vm_pgoff) * page_bytes;
		e->module = append_path(s, task, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), &cut);
	}
	if (changed) { /* the crash is told without its file, which is lost */
		count_seen(EVENT_CRASH);
		count_lost(EVENT_CRASH, LOSS_BUSY);
	}
	submit_record(s, is_watched(task->tgid, task) ? RING_LIFECYCLE : RING_UNWATCHED, task, EVENT_CRASH, false);
	if (signal == SIGBUS && (u64)info > 1)
		tell_fault(s, task, info);
	give_back(s);
	return 0;
}
