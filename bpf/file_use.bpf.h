/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads, writes and closes of files that are followed. Included by file.bpf.h alone, at the place where it is used. */
#ifndef KWITNESS_FILE_USE_BPF_H
#define KWITNESS_FILE_USE_BPF_H

/* The entry of a descriptor, begun now if the process had it before it was watched. */
static __always_inline struct tracked_file *tracked(struct task_struct *task, u32 tgid, u32 descriptor)
{
	struct file_key key = {tgid, descriptor};
	struct tracked_file *t = bpf_map_lookup_elem(&tracked_files, &key);
	struct file *file = file_of(task, descriptor);

	if (t && t->file == (u64)file)
		return t;
	track(descriptor, OPENED_INHERITED);
	return bpf_map_lookup_elem(&tracked_files, &key);
}

/* The clock is read once a tick: reading it at every call would cost more than all else here. */
static __always_inline void note_use(struct tracked_file *t)
{
	u64 tick = bpf_jiffies64();

	if (t->last_use_tick != tick) {
		t->last_use_tick = tick;
		t->last_use_ns = bpf_ktime_get_boot_ns();
	}
}

static __always_inline void note_read(struct task_struct *task, u32 tgid, u32 descriptor, long bytes)
{
	struct tracked_file *t = tracked(task, tgid, descriptor);

	if (!t || t->state >= TRACK_OTHER)
		return;
	__sync_fetch_and_add(&t->read_bytes, bytes);
	__sync_fetch_and_add(&t->read_calls, 1);
	note_use(t);
}

static __always_inline void note_write(struct task_struct *task, u32 tgid, u32 descriptor, long bytes, u64 asked)
{
	struct tracked_file *t = tracked(task, tgid, descriptor);

	if (!t || t->state >= TRACK_OTHER)
		return;
	__sync_fetch_and_add(&t->written_bytes, bytes);
	__sync_fetch_and_add(&t->write_calls, 1);
	note_use(t);
	if (asked && bytes < asked)
		t->closed_flags |= CLOSED_SHORT_WRITE;
	t->closed_flags &= ~CLOSED_SYNCED;
}

static __always_inline void note_write_error(struct task_struct *task, u32 tgid, u32 descriptor, u32 error)
{
	struct file_key key = {tgid, descriptor};
	struct tracked_file *t = bpf_map_lookup_elem(&tracked_files, &key);

	if (t && t->state < TRACK_OTHER)
		t->write_error = error;
}

struct descriptor_walk {
	struct task_struct *task;
	struct watched *sums;
	struct file **slots;
	u64 wanted; /* struct file *: is any other descriptor leading to it? */
	u32 max_fds;
	u32 tgid;
	u32 skip;
	u32 flags;
	u32 everything;
};

static long on_same_file(u32 descriptor, struct descriptor_walk *walk)
{
	struct file *file = NULL;

	if (descriptor >= walk->max_fds || descriptor > walk->sums->highest_descriptor)
		return 1;
	if (descriptor == walk->skip)
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), walk->slots + descriptor);
	if ((u64)file != walk->wanted)
		return 0;
	walk->flags = CLOSED_SHARED;
	return 1;
}

static __always_inline void begin_walk(struct descriptor_walk *walk, struct task_struct *task, struct watched *sums, u32 tgid)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);

	walk->task = task;
	walk->sums = sums;
	walk->tgid = tgid;
	walk->slots = BPF_CORE_READ(table, fd);
	walk->max_fds = BPF_CORE_READ(table, max_fds);
}

__noinline int close_descriptor(u32 descriptor, u32 flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 tgid = task->tgid;
	struct file_key key = {tgid, descriptor};
	struct tracked_file *t = bpf_map_lookup_elem(&tracked_files, &key);
	struct watched *sums = bpf_map_lookup_elem(&watched_processes, &tgid);
	struct descriptor_walk walk = {};

	if (!t || !sums)
		return 0;
	if (t->shared) {
		begin_walk(&walk, task, sums, tgid);
		walk.wanted = t->file;
		walk.skip = descriptor;
		bpf_loop(DESCRIPTORS_PER_CLOSE, on_same_file, &walk, 0);
		flags |= walk.flags;
		if (!walk.flags && sums->highest_descriptor >= DESCRIPTORS_PER_CLOSE) {
			count_seen(EVENT_FILE_CLOSED); /* it is told as closed, and may still be open there */
			count_lost(EVENT_FILE_CLOSED, LOSS_DESCRIPTOR_LIMIT);
		}
	}
	finish_file(&key, t, sums, flags);
	return 0;
}

static long on_old_descriptor(u32 descriptor, struct descriptor_walk *walk)
{
	struct file_key key = {};
	struct tracked_file *t;
	struct file *file = NULL;

	if (!walk->sums->files_tracked || descriptor > walk->sums->highest_descriptor)
		return 1;
	key.tgid = walk->tgid;
	key.descriptor = descriptor;
	t = bpf_map_lookup_elem(&tracked_files, &key);
	if (!t)
		return 0;
	if (descriptor < walk->max_fds)
		bpf_probe_read_kernel(&file, sizeof(file), walk->slots + descriptor);
	if ((u64)file != t->file)
		finish_file(&key, t, walk->sums, CLOSED_UNSEEN);
	else if (walk->everything)
		finish_file(&key, t, walk->sums, CLOSED_BY_DEATH);
	return 0;
}

/* Ends the entries of descriptors that are gone, or of all of them when the process ends. */
static __always_inline void close_old_descriptors(struct task_struct *task, u32 tgid, bool everything)
{
	struct watched *sums = bpf_map_lookup_elem(&watched_processes, &tgid);
	struct descriptor_walk walk = {};

	if (!sums || !sums->files_tracked)
		return;
	begin_walk(&walk, task, sums, tgid);
	walk.everything = everything;
	bpf_loop(DESCRIPTOR_LIMIT, on_old_descriptor, &walk, 0);
}

static __always_inline void duplicated(struct task_struct *task, u32 tgid, u32 from, u32 to)
{
	struct file_key old = {tgid, from}, new = {tgid, to};
	struct watched *sums = bpf_map_lookup_elem(&watched_processes, &tgid);
	struct tracked_file *t;
	struct scratch *s;
	long refused;

	if (!sums || from == to)
		return;
	t = bpf_map_lookup_elem(&tracked_files, &new);
	if (t)
		finish_file(&new, t, sums, CLOSED_UNSEEN);
	t = bpf_map_lookup_elem(&tracked_files, &old);
	if (!t)
		return;
	t->shared = 1;
	s = take_scratch(CALL_SCRATCHES);
	if (!s)
		return; /* as below */
	__builtin_memcpy(&s->fresh, t, sizeof(*t));
	s->fresh.read_bytes = s->fresh.read_calls = s->fresh.written_bytes = s->fresh.write_calls = 0;
	s->fresh.last_use_tick = s->fresh.last_use_ns = 0;
	refused = bpf_map_update_elem(&tracked_files, &new, &s->fresh, BPF_ANY);
	give_back(s);
	if (refused)
		return; /* it will be begun again at its first use, or is lost there */
	__sync_fetch_and_add(&sums->files_tracked, 1);
	if (to > sums->highest_descriptor)
		sums->highest_descriptor = to;
}

static __always_inline void mark_file(struct task_struct *task, u32 tgid, u32 descriptor, u32 flags)
{
	struct tracked_file *t = tracked(task, tgid, descriptor);

	if (t)
		t->closed_flags |= flags;
}

/* io_uring moves bytes without a call for each: how often it was used is all that is seen here. */
static __always_inline void note_io_uring(struct task_struct *task, u32 tgid, long submitted)
{
	struct watched *sums = sums_of(tgid, task, EVENT_FILE_TOTALS);

	if (sums)
		__sync_fetch_and_add(&sums->io_uring_calls, submitted);
}

#endif
