/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Memory that was refused, and the limits that may have refused it, looked up as the call returns. */
#ifndef KWITNESS_REFUSED_MEMORY_BPF_H
#define KWITNESS_REFUSED_MEMORY_BPF_H

#include "errors.bpf.h"

#define RLIMIT_DATA 2 /* include/uapi/asm-generic/resource.h */
#define RLIMIT_MEMLOCK 8
#define RLIMIT_AS 9
#define PROT_WRITE 2 /* include/uapi/asm-generic/mman-common.h */
#define PROT_EXEC 4
#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 32
#define MAP_LOCKED 0x2000
#define MNT_NOEXEC 4 /* include/linux/mount.h */

const volatile u32 mappings_limit __weak = 0; /* vm.max_map_count and vm.overcommit_memory as kwitness started */
const volatile u32 overcommit_mode __weak = 0;

/* A macro, because the index has to be a constant where the compiler notes what it reads. No limit is the largest number of 63 bits. */
#define limit_of(task, which) (BPF_CORE_READ(task, signal, rlim[which].rlim_cur) & ~(1ULL << 63))

static __always_inline void fill_refused_mapping(struct scratch *s, struct event_memory_refused *e, struct task_struct *task,
						 struct pt_regs *regs)
{
	u64 protection = ARG3(regs), flags = ARG4(regs);
	struct file *file;
	bool cut = false;

	e->asked_bytes = ARG2(regs);
	if (flags & MAP_ANONYMOUS)
		e->refusal_flags |= REFUSAL_ANONYMOUS;
	if ((flags & MAP_PRIVATE) && (protection & PROT_WRITE))
		e->refusal_flags |= REFUSAL_PRIVATE_WRITABLE;
	if (protection & PROT_EXEC)
		e->refusal_flags |= REFUSAL_EXECUTABLE;
	if (flags & MAP_LOCKED)
		e->refusal_flags |= REFUSAL_LOCKED;
	file = flags & MAP_ANONYMOUS ? NULL : file_of(task, ARG5(regs));
	if (!file)
		return;
	if (BPF_CORE_READ(file, f_path.mnt, mnt_flags) & MNT_NOEXEC)
		e->refusal_flags |= REFUSAL_NOEXEC;
	e->path = append_path(s, task, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), &cut);
	if (cut)
		e->refusal_flags |= REFUSAL_PATH_CUT;
}

static __noinline int tell_refused_memory(struct pt_regs *regs, u32 number, u32 error)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct event_memory_refused *e;
	struct scratch *s;

	if (!regs || !mm || (error != ENOMEM && error != EPERM && error != EACCES && error != EAGAIN))
		return 0;
	count_seen(EVENT_MEMORY_REFUSED);
	if (share_used_up(accountable_user(task), SHARE_REFUSED_MEMORY, SECOND_NS / REFUSALS_PER_SECOND,
			  SECOND_NS / REFUSALS_PER_SECOND * REFUSALS_AT_ONCE)) {
		count_filtered(EVENT_MEMORY_REFUSED, FILTER_RATE_LIMIT);
		return 0;
	}
	s = take_scratch(CALL_SCRATCHES);
	if (!s) {
		count_lost(EVENT_MEMORY_REFUSED, LOSS_NESTED);
		return 0;
	}
	e = begin_record(s, struct event_memory_refused, EVENT_MEMORY_REFUSED);
	e->process = key_of(task);
	e->mapped_bytes = BPF_CORE_READ(mm, total_vm) * page_bytes;
	e->private_bytes = BPF_CORE_READ(mm, data_vm) * page_bytes;
	e->locked_bytes = BPF_CORE_READ(mm, locked_vm) * page_bytes;
	e->address_space_limit_bytes = limit_of(task, RLIMIT_AS);
	e->data_limit_bytes = limit_of(task, RLIMIT_DATA);
	e->locked_limit_bytes = limit_of(task, RLIMIT_MEMLOCK);
	e->mappings = BPF_CORE_READ(mm, map_count);
	e->mappings_max = mappings_limit;
	e->overcommit = overcommit_mode;
	e->call_number = number;
	e->error = error;
	if (number == __NR_mmap)
		fill_refused_mapping(s, e, task, regs);
	else if (number == __NR_mremap) {
		e->asked_bytes = (s64)ARG3(regs) > (s64)ARG2(regs) ? ARG3(regs) - ARG2(regs) : 0;
		e->refusal_flags |= REFUSAL_PRIVATE_WRITABLE;
	}
	submit_record(s, RING_BULK, task, EVENT_MEMORY_REFUSED, false);
	give_back(s);
	return 0;
}

#endif
