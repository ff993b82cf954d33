/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who can write into the pipes that a process waits at. Included by holders.bpf.h alone, at the place where it is used. */
#ifndef KWITNESS_WRITERS_BPF_H
#define KWITNESS_WRITERS_BPF_H

struct pipe_search {
	u64 leader; /* struct task_struct *, as a number: functions that are verified once take no others */
	struct file **slots;
	u32 max_fds;
	u32 _reserved;
};

static long on_own_descriptor(u32 descriptor, struct pipe_search *search)
{
	struct file *file = NULL;
	struct inode *inode;

	if (descriptor >= search->max_fds)
		return 1;
	bpf_probe_read_kernel(&file, sizeof(file), search->slots + descriptor);
	if (!file || !(BPF_CORE_READ(file, f_mode) & FMODE_READ))
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFIFO)
		find_pipe_holder(search->leader, (u64)inode, HELD_PIPE_WRITE);
	return 0;
}

/* Who can still write into the pipes that a process may wait at, whether it reads or polls. */
static __always_inline void find_writers(struct task_struct *task)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct pipe_search search = {};

	search.leader = (u64)BPF_CORE_READ(task, group_leader);
	search.slots = BPF_CORE_READ(table, fd);
	search.max_fds = BPF_CORE_READ(table, max_fds);
	bpf_loop(OWN_DESCRIPTORS_LOOKED_AT, on_own_descriptor, &search, 0);
}

struct name_search {
	struct scratch *scratch;
	u32 length;
	u32 begin;
};

static long on_path_byte(u32 index, struct name_search *search)
{
	u8 byte = 0;

	if (index >= search->length)
		return 1;
	bpf_probe_read_kernel(&byte, 1, search->scratch->record + (index & (TEXT_BYTES - 1)));
	if (byte == '/')
		search->begin = index + 1;
	return 0;
}

#endif
