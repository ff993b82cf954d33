/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How many descriptors a process has open. */
#ifndef KWITNESS_DESCRIPTORS_BPF_H
#define KWITNESS_DESCRIPTORS_BPF_H

#include "emit.bpf.h"

#define DESCRIPTOR_WORDS 16384 /* of 64 descriptors: a process may have 1,048,576 (fs.nr_open) */
#define RLIMIT_NOFILE 7

struct descriptor_count {
	unsigned long *words;
	u32 limit;
	u32 found;
};

static long on_descriptor_word(u32 index, struct descriptor_count *count)
{
	unsigned long word = 0;

	if (index * 64 >= count->limit)
		return 1;
	bpf_probe_read_kernel(&word, sizeof(word), count->words + index);
	/* population count without an instruction for it */
	word = word - ((word >> 1) & 0x5555555555555555UL);
	word = (word & 0x3333333333333333UL) + ((word >> 2) & 0x3333333333333333UL);
	count->found += (((word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fUL) * 0x0101010101010101UL) >> 56;
	return 0;
}

static __always_inline u32 open_descriptors(struct task_struct *task)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct descriptor_count count = {};

	count.words = BPF_CORE_READ(table, open_fds);
	count.limit = BPF_CORE_READ(table, max_fds);
	bpf_loop(DESCRIPTOR_WORDS, on_descriptor_word, &count, 0);
	return count.found;
}

#endif
