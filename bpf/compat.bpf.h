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

/* Since 6.9, a69ce85ec9af ("filelock: split common fields into struct file_lock_core"). */
struct file_lock_core {
	struct list_head flc_list;
	int flc_pid;
};

struct file_lock___new {
	struct file_lock_core c;
};

struct file_lock___old {
	struct list_head fl_list;
	unsigned int fl_pid;
};

#pragma clang attribute pop

#define LOCKS_LOOKED_AT 8

/* The first other process in a list of locks (flc_posix, flc_flock), in the initial pid namespace's numbers; 0: none. */
static __always_inline u32 other_lock_owner(struct list_head *head, u32 self)
{
	struct list_head *entry = BPF_CORE_READ(head, next);
	struct file_lock___new *newer;
	struct file_lock___old *older;
	u32 i, owner;

	for (i = 0; i < LOCKS_LOOKED_AT && entry && entry != head; i++) {
		newer = (void *)entry - bpf_core_field_offset(struct file_lock___new, c.flc_list);
		if (bpf_core_field_exists(newer->c.flc_pid)) {
			owner = BPF_CORE_READ(newer, c.flc_pid);
		} else {
			older = (void *)entry - bpf_core_field_offset(struct file_lock___old, fl_list);
			owner = BPF_CORE_READ(older, fl_pid);
		}
		if (owner != self)
			return owner;
		entry = BPF_CORE_READ(entry, next);
	}
	return 0;
}

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
		case RSS_SWAP:
			pages = BPF_CORE_READ(older, rss_stat.count[2].counter);
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
		case RSS_SWAP:
			pages = BPF_CORE_READ(mm, rss_stat[2].count);
			break;
		default:
			pages = BPF_CORE_READ(mm, rss_stat[3].count);
		}
	}
	return pages > 0 ? pages : 0;
}

#endif
