/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The partial-write detector: which regular files has a process open for writing at this moment? Costs nothing until asked. */
#ifndef KWITNESS_OPENFILES_BPF_H
#define KWITNESS_OPENFILES_BPF_H

#include "path.bpf.h"

#define DESCRIPTORS_PER_PROCESS 4096 /* looked at */
#define FILES_PER_PROCESS 64	     /* reported; the rest is counted as lost, LOSS_FILE_LIMIT */
#define DESCRIPTORS_PER_WORD 64
#define DESCRIPTOR_WORDS 16384 /* of the table of what is open: a process may have 1,048,576 (fs.nr_open) */

struct file_walk {
	struct scratch *scratch;
	struct task_struct *task;
	struct file **slots;
	struct file *stderr_file;
	struct file *parent_stdout;
	struct file *parent_stderr;
	struct process_key key;
	u32 max_fds;
	u32 ring;
	u16 reason;
	u16 signal;
};

static __always_inline struct file *file_at(struct file **slots, u32 descriptor)
{
	struct file *file = NULL;

	if (slots)
		bpf_probe_read_kernel(&file, sizeof(file), slots + descriptor);
	return file;
}

struct word_walk {
	unsigned long *words;
	u32 count;
	u32 found;
};

static long on_word(u32 index, struct word_walk *walk)
{
	unsigned long word = 0;

	index += DESCRIPTORS_PER_PROCESS / DESCRIPTORS_PER_WORD;
	if (index >= walk->count)
		return 1;
	bpf_probe_read_kernel(&word, sizeof(word), walk->words + index);
	if (!word)
		return 0;
	walk->found = 1;
	return 1;
}

/* Whether a descriptor is open that is not looked at. The table never shrinks: its size alone says what was open at some time. */
static __always_inline bool has_more_descriptors(struct fdtable *table, u32 max_fds)
{
	struct word_walk walk = {};

	walk.words = BPF_CORE_READ(table, open_fds);
	walk.count = max_fds / DESCRIPTORS_PER_WORD;
	bpf_loop(DESCRIPTOR_WORDS, on_word, &walk, 0);
	return walk.found;
}

static long on_descriptor(u32 descriptor, struct file_walk *walk)
{
	struct event_open_file *e;
	struct dentry *dentry;
	struct inode *inode;
	struct file *file;
	bool cut = false;

	if (descriptor >= walk->max_fds)
		return 1;
	file = file_at(walk->slots, descriptor);
	if (!file || !(BPF_CORE_READ(file, f_mode) & FMODE_WRITE))
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFREG)
		return 0;
	count_seen(EVENT_OPEN_FILE);
	if (walk->scratch->files_found++ >= FILES_PER_PROCESS) {
		count_lost(EVENT_OPEN_FILE, LOSS_FILE_LIMIT);
		return 0;
	}
	dentry = BPF_CORE_READ(file, f_path.dentry);
	e = begin_record(walk->scratch, struct event_open_file, EVENT_OPEN_FILE);
	e->process = walk->key;
	e->inode = BPF_CORE_READ(inode, i_ino);
	e->device = BPF_CORE_READ(inode, i_sb, s_dev);
	e->size_bytes = BPF_CORE_READ(inode, i_size);
	e->position_bytes = BPF_CORE_READ(file, f_pos);
	e->open_flags = BPF_CORE_READ(file, f_flags);
	e->descriptor = descriptor;
	e->reason = walk->reason;
	e->signal = walk->signal;
	if (is_deleted(dentry))
		e->file_flags |= FILE_DELETED;
	if (file == walk->parent_stdout || file == walk->parent_stderr)
		e->file_flags |= FILE_INHERITED_STDIO;
	if (file == walk->stderr_file)
		e->file_flags |= FILE_SHARES_STDERR;
	e->path = append_path(walk->scratch, walk->task, BPF_CORE_READ(file, f_path.mnt), dentry, &cut);
	if (cut)
		e->file_flags |= FILE_PATH_CUT;
	submit_record(walk->scratch, walk->ring, walk->task, EVENT_OPEN_FILE, false);
	return 0;
}

static __always_inline void report_open_files(struct task_struct *task, bool watched, u16 reason, u16 signal)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **parent_slots = BPF_CORE_READ(task, group_leader, real_parent, files, fdt, fd);
	struct file_walk walk = {};

	if (!table)
		return;
	walk.scratch = take_scratch(SCRATCHES);
	if (!walk.scratch) {
		count_nested(EVENT_OPEN_FILE);
		return;
	}
	walk.scratch->files_found = 0;
	walk.task = task;
	walk.key = key_of(task);
	walk.slots = BPF_CORE_READ(table, fd);
	walk.max_fds = BPF_CORE_READ(table, max_fds);
	walk.stderr_file = file_at(walk.slots, 2);
	walk.parent_stdout = file_at(parent_slots, 1);
	walk.parent_stderr = file_at(parent_slots, 2);
	walk.ring = watched ? RING_BULK : RING_UNWATCHED;
	walk.reason = reason;
	walk.signal = signal;
	bpf_loop(DESCRIPTORS_PER_PROCESS, on_descriptor, &walk, 0);
	give_back(walk.scratch);
	if (walk.max_fds > DESCRIPTORS_PER_PROCESS && has_more_descriptors(table, walk.max_fds)) {
		count_seen(EVENT_OPEN_FILE);
		count_lost(EVENT_OPEN_FILE, LOSS_DESCRIPTOR_LIMIT);
	}
}

#endif
