/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Looks at watched processes that have just begun: a job of two seconds would have two samples. Each look is a small part of a sample, and
 * a process has a bounded number of them. */
#include "compat.bpf.h"
#include "runtime.bpf.h"
#include "watch.bpf.h"

SEC("iter/task")
int on_young_tasks(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct event_early_sample e;
	struct mm_struct *mm;
	u64 age_ns;

	if (!task || task->pid != task->tgid || (task->flags & PF_KTHREAD) || is_self(task->tgid))
		return 0;
	age_ns = bpf_ktime_get_boot_ns() - BPF_CORE_READ(task, start_boottime);
	if (age_ns > (u64)YOUNG_MS * 1000000 || !is_watched(task->tgid, task))
		return 0;
	mm = BPF_CORE_READ(task, mm);
	if (!mm)
		return 0;
	stamp(&e.header, sizeof(e), EVENT_EARLY_SAMPLE);
	e.process = key_of(task);
	e.anon_bytes = rss_pages(mm, RSS_ANON) * page_bytes;
	e.file_bytes = rss_pages(mm, RSS_FILE) * page_bytes;
	e.shmem_bytes = rss_pages(mm, RSS_SHMEM) * page_bytes;
	e.cpu_runtime_ns = runtime_of(task);
	write_record(context->meta->seq, &e, sizeof(e), EVENT_EARLY_SAMPLE);
	return 0;
}
