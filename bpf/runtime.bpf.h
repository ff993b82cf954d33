/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The CPU time of a process: of its threads, living and dead. */
#ifndef KWITNESS_RUNTIME_BPF_H
#define KWITNESS_RUNTIME_BPF_H

#include "emit.bpf.h"

#define THREADS_PER_PROCESS 4096

struct runtime_walk {
	struct list_head *head;
	struct list_head *node;
	u64 runtime_ns;
};

static long on_thread_runtime(u32 index, struct runtime_walk *walk)
{
	struct list_head *node = walk->node;
	struct task_struct *thread;

	if (!node || node == walk->head)
		return 1;
	thread = (void *)node - bpf_core_field_offset(struct task_struct, thread_node);
	walk->runtime_ns += BPF_CORE_READ(thread, se.sum_exec_runtime);
	walk->node = BPF_CORE_READ(node, next);
	return 0;
}

static __always_inline u64 runtime_of(struct task_struct *task)
{
	struct runtime_walk threads = {};
	struct list_head *head;

	head = (void *)BPF_CORE_READ(task, signal) + bpf_core_field_offset(struct signal_struct, thread_head);
	threads.head = head;
	threads.node = BPF_CORE_READ(head, next);
	bpf_loop(THREADS_PER_PROCESS, on_thread_runtime, &threads, 0);
	return BPF_CORE_READ(task, signal, sum_sched_runtime) + threads.runtime_ns;
}

#endif
