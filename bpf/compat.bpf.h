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
	unsigned int flc_flags;
	unsigned char flc_type;
	int flc_pid;
	struct file *flc_file;
};

struct file_lock___new {
	struct file_lock_core c;
	s64 fl_start;
	s64 fl_end;
};

struct file_lock___old {
	struct list_head fl_list;
	unsigned int fl_flags;
	unsigned char fl_type;
	unsigned int fl_pid;
	struct file *fl_file;
	s64 fl_start;
	s64 fl_end;
};

#pragma clang attribute pop

#define LOCKS_LOOKED_AT 8
#define F_WRLCK 1      /* include/uapi/asm-generic/fcntl.h */
#define FL_OFDLCK 1024 /* include/linux/filelock.h: it belongs to an open file, and not to a process */

struct held_lock {
	u64 file; /* struct file * */
	s64 start, end;
	u32 owner; /* who asked for it, in the initial pid namespace's numbers; it may have ended */
	u32 type;
	bool of_process; /* else of the open file, which a fork or a message may have handed on */
};

static __always_inline void read_lock(void *lock, struct held_lock *held, bool posix)
{
	struct file_lock___new *newer = lock;
	struct file_lock___old *older = lock;
	u32 flags;

	if (bpf_core_field_exists(newer->c.flc_pid)) {
		held->file = (u64)BPF_CORE_READ(newer, c.flc_file);
		held->owner = BPF_CORE_READ(newer, c.flc_pid);
		held->type = BPF_CORE_READ(newer, c.flc_type);
		flags = BPF_CORE_READ(newer, c.flc_flags);
		held->start = BPF_CORE_READ(newer, fl_start);
		held->end = BPF_CORE_READ(newer, fl_end);
	} else {
		held->file = (u64)BPF_CORE_READ(older, fl_file);
		held->owner = BPF_CORE_READ(older, fl_pid);
		held->type = BPF_CORE_READ(older, fl_type);
		flags = BPF_CORE_READ(older, fl_flags);
		held->start = BPF_CORE_READ(older, fl_start);
		held->end = BPF_CORE_READ(older, fl_end);
	}
	held->of_process = posix && !(flags & FL_OFDLCK);
}

static __always_inline void *lock_at(struct list_head *entry)
{
	struct file_lock___new *newer = (void *)entry;

	if (bpf_core_field_exists(newer->c.flc_pid))
		return (void *)entry - bpf_core_field_offset(struct file_lock___new, c.flc_list);
	return (void *)entry - bpf_core_field_offset(struct file_lock___old, fl_list);
}

/* The first lock in a list (flc_posix, flc_flock) that refuses `asked`; gives whether there is one. */
static __always_inline bool refusing_lock(struct list_head *head, struct held_lock *asked, bool posix, struct held_lock *held)
{
	struct list_head *entry = BPF_CORE_READ(head, next);
	bool own;
	u32 i;

	for (i = 0; i < LOCKS_LOOKED_AT && entry && entry != head; i++) {
		read_lock(lock_at(entry), held, posix);
		own = held->of_process ? held->owner == asked->owner : held->file == asked->file;
		if (!own && (held->type == F_WRLCK || asked->type == F_WRLCK) &&
		    (!posix || (held->start <= asked->end && asked->start <= held->end)))
			return true;
		entry = BPF_CORE_READ(entry, next);
	}
	return false;
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
