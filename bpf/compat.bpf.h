/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every difference between kernels, each tested by the member and not by the version. */
#ifndef KWITNESS_COMPAT_BPF_H
#define KWITNESS_COMPAT_BPF_H

#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* 6.15, 633488947ef6 ("kernfs: Use RCU to access kernfs_node::parent"): parent became __parent. */
struct kernfs_node___new {
	struct kernfs_node *__parent;
};

struct kernfs_node___old {
	struct kernfs_node *parent;
};

/* Before 6.2, f1a7941243c1 ("mm: convert mm's rss stats into percpu_counter"). */
struct mm_rss_stat___old {
	atomic_long_t count[4];
};

struct mm_struct___old {
	struct mm_rss_stat___old rss_stat;
};

#pragma clang attribute pop

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *node)
{
	struct kernfs_node___new *newer = (void *)node;
	struct kernfs_node___old *older = (void *)node;

	if (bpf_core_field_exists(newer->__parent))
		return BPF_CORE_READ(newer, __parent);
	return BPF_CORE_READ(older, parent);
}

/* enum in include/linux/mm_types_task.h: the order has been stable since 4.5. */
enum rss_member { RSS_FILE, RSS_ANON, RSS_SWAP, RSS_SHMEM };

/* Pages; up to 32 pages per CPU off where the kernel counts per CPU. */
static __always_inline u64 rss_pages(struct mm_struct *mm, const enum rss_member member)
{
	struct mm_struct___old *older = (void *)mm;
	s64 pages;

	/* By a member of a struct that every kernel has: for a type that is missing libbpf goes on to search the modules' BTF,
	 * which needs CAP_SYS_ADMIN. */
	if (bpf_core_field_exists(older->rss_stat.count)) {
		switch (member) {
		case RSS_FILE:
			pages = BPF_CORE_READ(older, rss_stat.count[0].counter);
			break;
		case RSS_ANON:
			pages = BPF_CORE_READ(older, rss_stat.count[1].counter);
			break;
		default:
			pages = BPF_CORE_READ(older, rss_stat.count[3].counter);
		}
	} else {
		switch (member) {
		case RSS_FILE:
			pages = BPF_CORE_READ(mm, rss_stat[0].count);
			break;
		case RSS_ANON:
			pages = BPF_CORE_READ(mm, rss_stat[1].count);
			break;
		default:
			pages = BPF_CORE_READ(mm, rss_stat[3].count);
		}
	}
	return pages > 0 ? pages : 0;
}

#endif
