/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The front doors for system calls, attached only while something is watched; one of the two is chosen at load.
 *
 * sys_exit: one program on the raw tracepoint and not one per call. Measured (docs/performance.md), any syscall tracepoint
 * puts every call of the host on the slow path, after which one typed program costs less per hooked call than a tracepoint of
 * its own, needs no tracefs, sees every failing call, and comes and goes in one step.
 *
 * fexit: where the kernel has trampolines on functions, one program for each call that we handle. All other calls, and other
 * processes' all other work, pay nothing; failures of calls that are not in the list stay unseen.
 *
 * Either way the handler runs at the call's end: the descriptor is looked up in the kernel's own table, so no string of the
 * caller's has to be believed for a file that was opened. */
#include "change.bpf.h"
#include "errors.bpf.h"
#include "refused_memory.bpf.h"
#include "failures.bpf.h"
#include "holders.bpf.h"
#include "socket.bpf.h"

#include "call_handlers.bpf.h"

static __always_inline int on_call_end(struct pt_regs *regs, u32 number, long result)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct task_struct *task;
	u32 handler;

	if (!is_watched(tgid, bpf_get_current_task_btf()) || is_self(tgid) || number >= CALL_NUMBERS)
		return 0;
	handler = handlers[number];
	if (result < 0 && result >= -LAST_ERRNO) {
		task = bpf_get_current_task_btf();
		if (!is_foreign(task))
			on_failed_call(regs, task, tgid, number, handler, -result);
		return 0;
	}
	if (handler == ON_NOTHING || handler >= ON_LISTEN)
		return 0;
	task = bpf_get_current_task_btf();
	if (is_foreign(task)) {
		count_filtered(EVENT_FILE_OPENED, FILTER_FOREIGN_CALL);
		return 0;
	}
	if (handler == ON_READ || handler == ON_READ_VECTOR)
		note_read(task, tgid, ARG1(regs), result);
	else if (handler == ON_WRITE)
		note_write(task, tgid, ARG1(regs), result, ARG3(regs));
	else if (handler == ON_WRITE_VECTOR)
		note_write(task, tgid, ARG1(regs), result, 0);
	else if (handler >= ON_RENAME && handler <= ON_FCHOWNAT)
		on_name_call(regs, task, tgid, handler);
	else
		on_file_call(regs, task, tgid, handler, result);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_call, struct pt_regs *regs, long result)
{
	return on_call_end(regs, NUMBER(regs), result);
}

#define __NR_sendfile64 __NR_sendfile /* what the kernel calls the function */

/* The number is a constant here: the compiler drops what other calls' handlers would do. */
#if defined(__TARGET_ARCH_x86)
#define DOOR(name)                                                   \
	SEC("fexit/__x64_sys_" #name)                                \
	int BPF_PROG(door_##name, struct pt_regs *regs, long result) \
	{                                                            \
		return on_call_end(regs, __NR_##name, result);       \
	}
#else
#define DOOR(name)                                                   \
	SEC("fexit/__arm64_sys_" #name)                              \
	int BPF_PROG(door_##name, struct pt_regs *regs, long result) \
	{                                                            \
		return on_call_end(regs, __NR_##name, result);       \
	}
#endif

#if defined(__NR_open)
DOOR(open)
DOOR(creat)
DOOR(rename)
DOOR(unlink)
DOOR(rmdir)
DOOR(link)
DOOR(symlink)
DOOR(mkdir)
DOOR(chmod)
DOOR(chown)
DOOR(lchown)
DOOR(dup2)
#endif
DOOR(openat)
DOOR(openat2)
DOOR(close)
DOOR(read)
DOOR(pread64)
DOOR(readv)
DOOR(preadv)
DOOR(preadv2)
DOOR(write)
DOOR(pwrite64)
DOOR(writev)
DOOR(pwritev)
DOOR(pwritev2)
DOOR(sendfile64)
DOOR(copy_file_range)
DOOR(splice)
DOOR(fsync)
DOOR(fdatasync)
DOOR(renameat)
DOOR(renameat2)
DOOR(unlinkat)
DOOR(truncate)
DOOR(ftruncate)
DOOR(linkat)
DOOR(symlinkat)
DOOR(mkdirat)
DOOR(fchmod)
DOOR(fchmodat)
DOOR(fchown)
DOOR(fchownat)
DOOR(mmap)
DOOR(dup)
DOOR(dup3)
DOOR(fcntl)
DOOR(close_range)
DOOR(execve)
DOOR(clone)
DOOR(clone3)
DOOR(flock)
DOOR(connect)
DOOR(accept)
DOOR(accept4)
DOOR(bind)
DOOR(sendto)
DOOR(sendmsg)
DOOR(sendmmsg)
DOOR(recvfrom)
DOOR(recvmsg)
DOOR(recvmmsg)
DOOR(socket)
DOOR(pipe2)
DOOR(io_uring_enter)
DOOR(listen)
DOOR(chdir)
DOOR(inotify_add_watch)
DOOR(inotify_init1)

#define FILE_LOCK_DEFERRED 1 /* include/linux/filelock.h: somebody holds it, the caller waits */

/* A program that polls for a lock is not looked for at each attempt. */
static __always_inline void note_lock_holder(struct inode *inode, void *lock, int result, bool posix)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct held_lock asked = {}, held = {};
	struct file_lock_context *locks;
	struct watched *sums;
	u64 now;

	if (!lock || (result != -EAGAIN && result != FILE_LOCK_DEFERRED) || !is_watched(tgid, bpf_get_current_task_btf()))
		return;
	sums = sums_of(tgid, bpf_get_current_task_btf(), EVENT_CALL_FAILED);
	locks = BPF_CORE_READ(inode, i_flctx);
	if (!sums || !locks)
		return;
	read_lock(lock, &asked, posix);
	if (!refusing_lock((void *)locks + (posix ? bpf_core_field_offset(struct file_lock_context, flc_posix)
						  : bpf_core_field_offset(struct file_lock_context, flc_flock)),
			   &asked, posix, &held)) {
		sums->lock_holder = 0;
		return;
	}
	if (held.of_process) {
		sums->lock_holder = held.owner;
		return;
	}
	now = bpf_ktime_get_boot_ns();
	if (sums->lock_file == held.file && now - sums->lock_looked_ns < LOCK_INTERVAL_NS)
		return;
	sums->lock_file = held.file;
	sums->lock_looked_ns = now;
	sums->lock_holder = find_lock_holder(held.file, held.owner);
}

SEC("tp_btf/posix_lock_inode")
int BPF_PROG(on_posix_lock, struct inode *inode, void *lock, int result)
{
	note_lock_holder(inode, lock, result, true);
	return 0;
}

SEC("tp_btf/flock_lock_inode")
int BPF_PROG(on_flock, struct inode *inode, void *lock, int result)
{
	note_lock_holder(inode, lock, result, false);
	return 0;
}

static __always_inline void report_totals(struct task_struct *task, u32 tgid, struct watched *sums)
{
	struct event_file_totals *e;

	if (!sums->opened_files && !sums->unnamed_changes && !sums->io_uring_calls && !sums->failed_calls_elsewhere)
		return;
	count_seen(EVENT_FILE_TOTALS);
	e = reserve_record(RING_BULK, task, sizeof(*e), EVENT_FILE_TOTALS);
	if (!e)
		return;
	stamp(&e->header, sizeof(*e), EVENT_FILE_TOTALS);
	e->process.tgid = tgid;
	e->process.start_boottime_ns = sums->start_boottime_ns;
	e->opened_files = sums->opened_files;
	e->reported_files = sums->reported_files;
	e->noise_files = sums->noise_files;
	e->noise_read_bytes = sums->noise_read_bytes;
	e->unnamed_files = sums->unnamed_files;
	e->unnamed_read_bytes = sums->unnamed_read_bytes;
	e->unnamed_written_bytes = sums->unnamed_written_bytes;
	e->unnamed_changes = sums->unnamed_changes;
	e->io_uring_calls = sums->io_uring_calls;
	e->failed_calls_elsewhere = sums->failed_calls_elsewhere;
	bpf_ringbuf_submit(e, wakeup_of(RING_BULK, false));
	count_submitted(EVENT_FILE_TOTALS);
}

static long on_last_failure(u32 index, struct failure_search *search)
{
	struct event_call_failed *e;
	struct failure *f;

	if (index >= FAILURE_SLOTS)
		return 1;
	f = &search->sums->failures[index];
	if (!f->failures)
		return 1;
	if (is_milestone(f->failures))
		return 0; /* said already */
	count_seen(EVENT_CALL_FAILED);
	e = reserve_record(RING_BULK, bpf_get_current_task_btf(), sizeof(*e), EVENT_CALL_FAILED);
	if (!e)
		return 0;
	stamp(&e->header, sizeof(*e), EVENT_CALL_FAILED);
	fill_failure(e, search->sums, f, search->number);
	bpf_ringbuf_submit(e, wakeup_of(RING_BULK, false));
	count_submitted(EVENT_CALL_FAILED);
	return 0;
}

/* What was summed up for a watched process leaves with it. Attached before on_exit, so that it is said before the exit.
 * Of two last threads that both see no other, the second finds nothing left. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_watched_exit, struct task_struct *task)
{
	u32 tgid = task->tgid;
	struct failure_search search = {};
	struct watched *sums;

	if (!is_watched(tgid, task) || BPF_CORE_READ(task, signal, live.counter))
		return 0;
	sums = bpf_map_lookup_elem(&watched_processes, &tgid);
	if (sums) {
		close_old_descriptors(task, tgid, true);
		part_with_failures(task, sums, wait_status(BPF_CORE_READ(task, group_leader)));
		report_totals(task, tgid, sums);
		search.sums = sums;
		search.number = tgid;
		bpf_loop(FAILURE_SLOTS, on_last_failure, &search, 0);
		bpf_map_delete_elem(&watched_processes, &tgid);
	}
	return 0; /* its mark is taken by process_exit, which comes next and chooses the exit's ring by it */
}
