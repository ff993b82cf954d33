/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* System calls that fail in a way that matters: call, errno, object, how often. */
#ifndef KWITNESS_ERRORS_BPF_H
#define KWITNESS_ERRORS_BPF_H

#include "calls.bpf.h"
#include "kernel_net.h"

/* include/uapi/asm-generic/errno*.h */
#define EPERM 1
#define ENOENT 2
#define EINTR 4
#define EIO 5
#define E2BIG 7
#define ENOEXEC 8
#define EBADF 9
#define ECHILD 10
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EBUSY 16
#define EEXIST 17
#define EXDEV 18
#define ENODEV 19
#define ENOTDIR 20
#define EISDIR 21
#define EINVAL 22
#define ENFILE 23
#define EMFILE 24
#define ENOTTY 25
#define ETXTBSY 26
#define EFBIG 27
#define ENOSPC 28
#define ESPIPE 29
#define EROFS 30
#define EPIPE 32
#define ENAMETOOLONG 36
#define ENOTEMPTY 39
#define ELOOP 40
#define ELIBBAD 80
#define EADDRINUSE 98
#define EADDRNOTAVAIL 99
#define ENETUNREACH 101
#define ECONNRESET 104
#define ENOBUFS 105
#define ETIMEDOUT 110
#define ECONNREFUSED 111
#define EHOSTUNREACH 113
#define EALREADY 114
#define EINPROGRESS 115
#define ESTALE 116
#define EDQUOT 122
#define EISCONN 106
#define ENOTCONN 107
#define LAST_TOLD 511 /* above are the kernel's own (ERESTARTSYS), which a caller never gets */
#define LAST_ERRNO 4095

/* Global, as the two tests of an error are: see share.bpf.h. Their many answers would be as many ways through their callers. */
__weak __noinline int kind_of(u32 handler)
{
	switch (handler) {
	case ON_OPEN:
	case ON_OPENAT:
		return CALL_OPEN;
	case ON_READ:
	case ON_READ_VECTOR:
	case ON_RECEIVE:
		return CALL_READ;
	case ON_WRITE:
	case ON_WRITE_VECTOR:
	case ON_SENDFILE:
	case ON_COPY_RANGE:
	case ON_SEND:
		return CALL_WRITE;
	case ON_SYNC:
	case ON_CLOSE: /* a delayed write error: close(2), NFS */
		return CALL_SYNC;
	case ON_EXEC:
	case ON_EXECAT:
		return CALL_EXEC;
	case ON_CLONE:
		return CALL_CLONE;
	case ON_LOCK:
	case ON_FCNTL:
		return CALL_LOCK;
	case ON_CONNECT:
		return CALL_CONNECT;
	case ON_ACCEPT:
		return CALL_ACCEPT;
	case ON_BIND:
		return CALL_BIND;
	case ON_LISTEN:
		return CALL_LISTEN;
	case ON_ASK:
	case ON_ASKAT:
		return CALL_ASK;
	case ON_ENTER:
		return CALL_ENTER;
	case ON_WATCH:
	case ON_WATCH_INIT:
		return CALL_WATCH;
	case ON_MMAP:
	case ON_MEMORY:
		return CALL_MEMORY;
	case ON_DUP:
	case ON_DESCRIPTOR:
		return CALL_DESCRIPTOR;
	case ON_NOTHING:
	case ON_IO_URING:
	case ON_CLOSE_RANGE:
		return CALL_OTHER;
	}
	return CALL_CHANGE;
}

#include "failed_call.bpf.h"

struct failure_search {
	struct watched *sums;
	u32 number;
	u32 error;
	u32 found;
};

static long on_failure_slot(u32 index, struct failure_search *search)
{
	struct failure *f;

	if (index >= FAILURE_SLOTS)
		return 1;
	f = &search->sums->failures[index];
	if (f->failures && (f->number != search->number || f->error != search->error))
		return 0;
	search->found = index;
	return 1;
}

/* 1, 16, 256, …: few records for a call that fails a million times. */
static __always_inline bool is_milestone(u64 count)
{
	return count == 1 || count == 16 || count == 256 || count == 4096 || count == 65536 || count == 1 << 20;
}

static long on_exec_failure(u32 index, struct failure_search *search)
{
	struct failure *f;

	if (index >= FAILURE_SLOTS)
		return 1;
	f = &search->sums->failures[index];
	if (f->failures && (f->number == __NR_execve || f->number == __NR_execveat) && !is_milestone(f->failures))
		f->failures = 1; /* its first one is said; the others were steps of the same search along PATH */
	return 0;
}

/* An exec that worked: what failed before it was a search. */
__noinline int forget_exec_failures(u32 tgid)
{
	struct failure_search search = {};

	search.sums = bpf_map_lookup_elem(&watched_processes, &tgid);
	if (search.sums)
		bpf_loop(FAILURE_SLOTS, on_exec_failure, &search, 0);
	return 0;
}

__noinline int on_failure(u32 number_and_handler, u32 error, u64 first, u64 second)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 number = number_and_handler >> 8, handler = number_and_handler & 0xff, tgid = task->tgid;
	u16 call = kind_of(handler);
	struct failure_search search = {};
	struct event_call_failed *e;
	struct watched *sums;
	struct failure *f;
	struct scratch *s;
	u32 slot;

	if (!failure_matters(call, error))
		return 0;
	sums = sums_of(tgid, task, EVENT_CALL_FAILED);
	if (!sums)
		return 0;
	count_seen(EVENT_CALL_FAILED);
	search.sums = sums;
	search.number = number;
	search.error = error;
	search.found = FAILURE_SLOTS;
	bpf_loop(FAILURE_SLOTS, on_failure_slot, &search, 0);
	slot = search.found;
	if (slot >= FAILURE_SLOTS) {
		__sync_fetch_and_add(&sums->failed_calls_elsewhere, 1);
		count_filtered(EVENT_CALL_FAILED, FILTER_LIMIT);
		return 0;
	}
	f = &sums->failures[slot];
	f->number = number;
	f->error = error;
	f->last_ns = bpf_ktime_get_boot_ns();
	if (__sync_fetch_and_add(&f->failures, 1) == 0)
		f->first_ns = f->last_ns;
	if (!is_milestone(f->failures)) {
		count_filtered(EVENT_CALL_FAILED, FILTER_UNINTERESTING);
		return 0;
	}
	s = take_scratch(CALL_SCRATCHES);
	if (!s) {
		count_lost(EVENT_CALL_FAILED, LOSS_NESTED);
		return 0;
	}
	e = begin_record(s, struct event_call_failed, EVENT_CALL_FAILED);
	fill_failure(e, sums, f, tgid);
	fill_object(s->slot, handler, first, second);
	if (call == CALL_LOCK && error == EAGAIN) { /* fcntl(2) also duplicates descriptors, and fails with EMFILE */
		e->subject = SUBJECT_LOCK;
		e->holder.tgid = sums->lock_holder;
	}
	submit_record(s, RING_BULK, task, EVENT_CALL_FAILED, false);
	give_back(s);
	return 0;
}

#endif
