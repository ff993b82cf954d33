/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The last calls that failed in each watched process. They stay in the kernel until it ends: most failures are ordinary, and
 * nobody asks for those of a process that succeeded. */
#ifndef KWITNESS_FAILURES_BPF_H
#define KWITNESS_FAILURES_BPF_H

#include "change.bpf.h"
#include "descriptors.bpf.h"
#include "errors.bpf.h"

#define PF_FORKNOEXEC 0x40 /* include/linux/sched.h: forked, and executed nothing since */

/* What a process can do without: answers that every program gets all the time. */
__weak __noinline int is_everyday(u32 handler, u32 error)
{
	switch (error) {
	case EINTR: /* a signal ended what it waited for: who opens a FIFO or asks for a lock waits for somebody */
		return handler != ON_OPEN && handler != ON_OPENAT && handler != ON_LOCK && handler != ON_FCNTL;
	case ECHILD:
	case ENOTTY:
	case ESPIPE:
	case EALREADY:
	case EINPROGRESS:
	case EISCONN:
		return 1;
	case ENOTCONN: /* a question about a socket; of a path, the process behind its file system is gone */
		return handler == ON_NOTHING || handler == ON_READ || handler == ON_WRITE || handler == ON_SEND ||
		       handler == ON_RECEIVE;
	case EAGAIN:
		return handler != ON_CLONE && handler != ON_FCNTL && handler != ON_LOCK && handler != ON_EXEC &&
		       handler != ON_EXECAT;
	case EBADF:
	case EINVAL:
		return handler == ON_NOTHING || handler == ON_CLOSE || handler == ON_ASK || handler == ON_ASKAT ||
		       handler == ON_SYNC;
	case EPERM:
	case EACCES:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case ENOSPC:
	case EDQUOT:
	case EIO:
	case EROFS:
		return 0;
	}
	return handler == ON_NOTHING;
}

/* Whether the path argument, which was appended last, lies where programs are installed: their search for parts of themselves. */
static __always_inline bool is_probing(struct scratch *s, struct event_call_failed *e)
{
	u32 *found;

	if (e->subject != SUBJECT_PATH_ASKED || e->directory)
		return false;
	bpf_probe_read_kernel(s->prefix.path, NOISE_PREFIX_BYTES, s->record + sizeof(*e));
	s->prefix.prefix_bits = NOISE_PREFIX_BYTES * 8;
	found = bpf_map_lookup_elem(&noise_prefixes, &s->prefix);
	return found || ends_in_noise(s, e->path);
}

/* What the process had done by then. */
static __always_inline void note_progress(struct last_failure *f, struct task_struct *task, struct watched *sums)
{
	f->e.failed_boottime_ns = bpf_ktime_get_boot_ns();
	f->cpu_ns = BPF_CORE_READ(task, se.sum_exec_runtime);
	f->read_bytes = BPF_CORE_READ(task, ioac.rchar);
	f->written_bytes = BPF_CORE_READ(task, ioac.wchar);
	f->files = sums->opened_files - sums->noise_files;
	f->code_files = sums->noise_files;
}

/* The same call with the same argument as the last time: a poll for a lock. */
static __always_inline bool is_repeated(struct task_struct *task, struct watched *sums, u32 number, u32 error, u64 argument)
{
	struct last_failure_key key = {};
	struct last_failure *f;

	if (!sums->last_failures)
		return false;
	key.tgid = task->tgid;
	key.slot = (sums->last_failures - 1) % LAST_FAILURES;
	f = bpf_map_lookup_elem(&last_failures, &key);
	if (!f || f->e.call_number != number || f->e.error != error || f->argument != argument || f->e.thread != (u32)task->pid)
		return false;
	f->e.failures++;
	note_progress(f, task, sums);
	return true;
}

/* An entry to fill, made when it is first needed. */
static __always_inline struct last_failure *failure_room(struct watched *sums, u32 tgid, bool minor)
{
	static const struct last_failure nothing;
	struct last_failure_key key = {};
	struct last_failure *f;

	key.tgid = tgid;
	if (minor)
		key.slot = LAST_FAILURES + __sync_fetch_and_add(&sums->last_questions, 1) % LAST_QUESTIONS;
	else
		key.slot = __sync_fetch_and_add(&sums->last_failures, 1) % LAST_FAILURES;
	f = bpf_map_lookup_elem(&last_failures, &key);
	if (!f) {
		bpf_map_update_elem(&last_failures, &key, &nothing, BPF_NOEXIST);
		f = bpf_map_lookup_elem(&last_failures, &key);
	}
	if (f)
		sums->failures_kept |= 1 << key.slot;
	return f;
}

static __always_inline void keep_failure(struct last_failure *f, struct scratch *s, struct event_call_failed *e)
{
	u32 bytes = e->directory + e->path;

	f->e.subject = e->subject;
	f->e.family = e->family;
	f->e.port = e->port;
	f->e.address_high = e->address_high;
	f->e.address_low = e->address_low;
	f->e.directory = e->directory;
	f->e.path = e->path;
	f->e.failure_flags = 0;
	if (bytes > LAST_TEXT_BYTES) {
		f->e.directory = f->e.path = 0;
		f->e.failure_flags = FAILURE_TEXT_CUT;
		return;
	}
	bpf_probe_read_kernel(f->text, bytes, s->record + sizeof(*e));
}

__noinline int remember_failure(u32 number_and_handler, u32 error, u64 first, u64 second)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 number = number_and_handler >> 8, handler = number_and_handler & 0xff, tgid = task->tgid;
	struct event_call_failed *e;
	struct last_failure *f;
	struct watched *sums;
	struct scratch *s;
	bool minor, probe;

	if (error > LAST_TOLD)
		error = EINTR;
	if (is_everyday(handler, error))
		return 0;
	sums = sums_of(tgid, task, EVENT_LAST_FAILURE);
	if (!sums)
		return 0;
	if ((handler == ON_LOCK || handler == ON_FCNTL) && is_repeated(task, sums, number, error, first))
		return 0;
	s = take_scratch(CALL_SCRATCHES);
	if (!s) {
		count_nested(EVENT_LAST_FAILURE);
		return 0;
	}
	e = begin_record(s, struct event_call_failed, EVENT_CALL_FAILED);
	fill_object(s->slot, handler, first, second);
	probe = (error == ENOENT || error == ENOTDIR) && is_probing(s, e);
	minor = probe || handler == ON_ASK || handler == ON_ASKAT;
	f = failure_room(sums, tgid, minor);
	if (!f) {
		count_seen(EVENT_LAST_FAILURE);
		count_lost(EVENT_LAST_FAILURE, LOSS_TABLE_FULL);
		give_back(s);
		return 0;
	}
	keep_failure(f, s, e);
	if (probe)
		f->e.failure_flags |= FAILURE_PROBE;
	f->argument = first;
	f->e.failures = 1;
	f->e.thread = task->pid;
	f->e.call_number = number;
	f->e.error = error;
	f->e.call = kind_of(handler);
	f->e.open_descriptors = error == EMFILE ? open_descriptors(task) : 0;
	f->e.descriptor_max = BPF_CORE_READ(task, signal, rlim[RLIMIT_NOFILE].rlim_cur);
	note_progress(f, task, sums);
	give_back(s);
	return 0;
}

/* An exec that worked: what the old image could not do says nothing about the new one. */
static __always_inline void forget_failures(u32 tgid)
{
	struct watched *sums = bpf_map_lookup_elem(&watched_processes, &tgid);

	if (sums)
		sums->last_failures = sums->last_questions = 0;
}

struct farewell {
	struct task_struct *task;
	struct watched *sums;
	struct scratch *scratch; /* NULL: it succeeded, or there is no room */
	u32 tgid;
};

static __always_inline void tell_failure(struct farewell *farewell, struct last_failure *f)
{
	struct scratch *s = farewell->scratch;
	struct task_struct *task = farewell->task;
	struct watched *sums = farewell->sums;
	struct event_last_failure *e;

	count_seen(EVENT_LAST_FAILURE);
	e = begin_record(s, struct event_last_failure, EVENT_LAST_FAILURE);
	bpf_probe_read_kernel((void *)e + sizeof(e->header), sizeof(*e) - sizeof(e->header), (void *)&f->e + sizeof(e->header));
	e->process.tgid = farewell->tgid;
	e->process.start_boottime_ns = sums->start_boottime_ns;
	e->later_files = sums->opened_files - sums->noise_files - f->files;
	e->later_code_files = sums->noise_files - f->code_files;
	if (e->thread == (u32)BPF_CORE_READ(task, pid)) {
		e->later_cpu_ns = BPF_CORE_READ(task, se.sum_exec_runtime) - f->cpu_ns;
		e->later_read_bytes = BPF_CORE_READ(task, ioac.rchar) - f->read_bytes;
		e->later_written_bytes = BPF_CORE_READ(task, ioac.wchar) - f->written_bytes;
	} else {
		e->failure_flags |= FAILURE_THREAD_GONE;
	}
	e->directory = append_kernel(s, f->text, e->directory);
	if (e->directory < LAST_TEXT_BYTES)
		e->path = append_kernel(s, f->text + e->directory, e->path);
	submit_record(s, RING_BULK, task, EVENT_LAST_FAILURE, false);
}

static long on_kept_failure(u32 index, struct farewell *farewell)
{
	struct watched *sums = farewell->sums;
	struct last_failure_key key = {};
	struct last_failure *f;
	u32 kept;

	if (index >= LAST_FAILURES + LAST_QUESTIONS)
		return 1;
	if (!(sums->failures_kept & 1 << index))
		return 0;
	key.tgid = farewell->tgid;
	key.slot = index;
	f = bpf_map_lookup_elem(&last_failures, &key);
	if (!f)
		return 0;
	kept = index < LAST_FAILURES ? sums->last_failures : sums->last_questions + LAST_FAILURES;
	if (farewell->scratch && index < kept)
		tell_failure(farewell, f);
	bpf_map_delete_elem(&last_failures, &key);
	return 0;
}

/* At the end of a watched process: tells what had failed if the process failed, too. A fork that works for the program above
 * it, as a worker of a pool does, hands its failure on and succeeds. */
static __always_inline void part_with_failures(struct task_struct *task, struct watched *sums, u32 status)
{
	struct farewell farewell = {};

	if (!sums->failures_kept)
		return;
	farewell.task = task;
	farewell.sums = sums;
	farewell.tgid = task->tgid;
	if (status || BPF_CORE_READ(task, flags) & PF_FORKNOEXEC) {
		farewell.scratch = take_scratch(SCRATCHES);
		if (!farewell.scratch)
			count_nested(EVENT_LAST_FAILURE);
	}
	bpf_loop(LAST_FAILURES + LAST_QUESTIONS, on_kept_failure, &farewell, 0);
	if (farewell.scratch)
		give_back(farewell.scratch);
}

#endif
