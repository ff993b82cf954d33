/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What watched processes do to names: rename, unlink, truncate, link, mkdir, chmod, chown. No struct file is at hand at these
 * calls' ends, so paths are their arguments, which the kernel has just used, with the directory that they start from. */
#ifndef KWITNESS_CHANGE_BPF_H
#define KWITNESS_CHANGE_BPF_H

#include "file.bpf.h"

/* Set by user space before load. */
const volatile u32 changes_per_process __weak = NAMED_CHANGES;

/* Room for one more named change, to be given back; or a count. */
static __always_inline struct scratch *change_room(struct task_struct *task, u32 tgid, struct watched **found)
{
	struct watched *sums = sums_of(tgid, task, EVENT_FILE_CHANGED);
	struct scratch *s;

	if (!sums)
		return NULL;
	count_seen(EVENT_FILE_CHANGED);
	if (sums->changes_reported >= changes_per_process) {
		__sync_fetch_and_add(&sums->unnamed_changes, 1);
		count_filtered(EVENT_FILE_CHANGED, FILTER_LIMIT);
		return NULL;
	}
	*found = sums;
	s = take_scratch(CALL_SCRATCHES);
	if (!s)
		count_lost(EVENT_FILE_CHANGED, LOSS_NESTED);
	return s;
}

/* Whether the text that was appended last ends in a noise suffix. */
static __always_inline bool ends_in_noise(struct scratch *s, u32 length)
{
	u32 used = s->used;

	if (length < NOISE_SUFFIX_BYTES || used < NOISE_SUFFIX_BYTES || used > RECORD_BYTES - TEXT_BYTES)
		return false;
	__builtin_memset(s->chunk, 0, 2 * NOISE_SUFFIX_BYTES);
	bpf_probe_read_kernel(s->chunk, NOISE_SUFFIX_BYTES, s->record + used - NOISE_SUFFIX_BYTES);
	return has_noise_suffix(s->slot);
}

__noinline int change_names(u32 operation, u64 path, u64 new_path, u64 directories)
{
	struct task_struct *task = bpf_get_current_task_btf();
	int directory = (int)(directories >> 32), new_directory = (int)directories;
	struct event_file_changed *e;
	u32 tgid = task->tgid;
	struct watched *sums = NULL;
	struct scratch *s = change_room(task, tgid, &sums);

	if (!s)
		return 0;
	if (!sums) { /* never: proves it to the verifier */
		give_back(s);
		return 0;
	}
	e = begin_record(s, struct event_file_changed, EVENT_FILE_CHANGED);
	e->process.tgid = tgid;
	e->process.start_boottime_ns = sums->start_boottime_ns;
	e->operation = operation;
	e->directory = append_directory(s, task, directory, (void *)path);
	e->path = append_user_string(s, (void *)path, TEXT_BYTES);
	if (new_path) {
		e->new_directory = append_directory(s, task, new_directory, (void *)new_path);
		e->new_path = append_user_string(s, (void *)new_path, TEXT_BYTES);
	}
	if (ends_in_noise(s, e->new_path ? e->new_path : e->path)) {
		count_filtered(EVENT_FILE_CHANGED, FILTER_NOISE);
		give_back(s);
		return 0;
	}
	__sync_fetch_and_add(&sums->changes_reported, 1);
	submit_record(s, RING_BULK, task, EVENT_FILE_CHANGED, false);
	give_back(s);
	return 0;
}

/* truncate(2), chmod(2): one path and a number. */
__noinline int change_value(u32 operation, int directory, u64 path, u64 value)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct event_file_changed *e;
	u32 tgid = task->tgid;
	struct watched *sums = NULL;
	struct scratch *s = change_room(task, tgid, &sums);

	if (!s)
		return 0;
	if (!sums) { /* never: proves it to the verifier */
		give_back(s);
		return 0;
	}
	e = begin_record(s, struct event_file_changed, EVENT_FILE_CHANGED);
	e->process.tgid = tgid;
	e->process.start_boottime_ns = sums->start_boottime_ns;
	e->operation = operation;
	e->size_bytes = value;
	e->directory = append_directory(s, task, directory, (void *)path);
	e->path = append_user_string(s, (void *)path, TEXT_BYTES);
	__sync_fetch_and_add(&sums->changes_reported, 1);
	submit_record(s, RING_BULK, task, EVENT_FILE_CHANGED, false);
	give_back(s);
	return 0;
}

/* ftruncate(2), fchmod(2): an open file and a number. */
__noinline int change_open_file(u32 operation, u32 descriptor, u64 value)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *file = file_of(task, descriptor);
	struct event_file_changed *e;
	u32 tgid = task->tgid;
	struct watched *sums = NULL;
	struct scratch *s;
	bool cut = false;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFREG)
		return 0;
	s = change_room(task, tgid, &sums);
	if (!s)
		return 0;
	if (!sums) { /* never: proves it to the verifier */
		give_back(s);
		return 0;
	}
	e = begin_record(s, struct event_file_changed, EVENT_FILE_CHANGED);
	e->process.tgid = tgid;
	e->process.start_boottime_ns = sums->start_boottime_ns;
	e->operation = operation;
	e->size_bytes = value;
	e->inode = BPF_CORE_READ(file, f_inode, i_ino);
	e->device = BPF_CORE_READ(file, f_inode, i_sb, s_dev);
	e->path = append_path(s, task, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), &cut);
	__sync_fetch_and_add(&sums->changes_reported, 1);
	submit_record(s, RING_BULK, task, EVENT_FILE_CHANGED, false);
	give_back(s);
	return 0;
}

#endif
