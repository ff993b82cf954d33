/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Processes that lived before we attached. Read once, after attaching, so that none falls between the two. */
#include "image.bpf.h"

static long on_others_variable(u32 index, struct env_walk *walk)
{
	struct scratch *s = walk->scratch;
	u64 left;

	if (walk->at >= walk->end)
		return 1;
	left = walk->end - walk->at;
	if (left > ENV_BYTES)
		left = ENV_BYTES;
	if (bpf_copy_from_user_task(s->chunk, left, (void *)walk->at, walk->task, 0))
		return take_variable(walk, -1, true);
	/* the chunk may hold more than one variable, or end inside one: the string copy finds its end */
	return take_variable(walk, bpf_probe_read_kernel_str(s->variable, left, s->chunk), true);
}

/* Sleepable, because the memory of another process may have to be faulted in. */
SEC("iter.s/task")
int on_existing(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct env_walk walk = {};
	struct event_exec *e;
	struct mm_struct *mm;
	struct scratch *s;
	u64 start, bytes;
	u32 used;
	u8 *room;

	if (!task || task->pid != task->tgid || (task->flags & PF_KTHREAD) || is_self(task->tgid))
		return 0;
	mm = BPF_CORE_READ(task, mm);
	if (!mm) /* a zombie has no image left */
		return 0;
	s = take_scratch(SCRATCHES);
	if (!s) {
		count_nested(EVENT_EXISTING);
		return 0;
	}
	e = begin_record(s, struct event_exec, EVENT_EXISTING);
	fill_image(s, e, task);

	start = BPF_CORE_READ(mm, arg_start);
	bytes = BPF_CORE_READ(mm, arg_end) - start;
	room = text_room(s);
	if (room && bytes > TEXT_BYTES) {
		e->image_flags |= IMAGE_ARGV_CUT;
		if (bpf_copy_from_user_task(room, ARGV_HEAD_BYTES, (void *)start, task, 0) ||
		    bpf_copy_from_user_task(room + ARGV_TAIL_AT, ARGV_TAIL_BYTES, (void *)(start + bytes - ARGV_TAIL_BYTES), task,
					    0)) {
			bytes = 0;
			e->image_flags |= IMAGE_ARGV_UNREADABLE;
		} else {
			mark_cut(room);
			bytes = TEXT_BYTES;
		}
	} else if (room && bytes && bpf_copy_from_user_task(room, bytes, (void *)start, task, 0)) {
		bytes = 0;
		e->image_flags |= IMAGE_ARGV_UNREADABLE;
	}
	if (room && bytes <= TEXT_BYTES) {
		e->argv = bytes;
		s->used += bytes;
	}

	walk.scratch = s;
	s->environ_bytes = 0;
	s->inside_variable = 0;
	walk.task = task;
	walk.at = BPF_CORE_READ(mm, env_start);
	walk.end = BPF_CORE_READ(mm, env_end);
	bpf_loop(ENV_STEPS, on_others_variable, &walk, 0);
	e->environ = s->environ_bytes;
	e->image_flags |= walk.flags;

	used = s->used;
	if (used <= RECORD_BYTES) { /* always: proves the size to the verifier */
		e->header.record_bytes = used;
		bpf_seq_write(context->meta->seq, s->record, used);
	}
	give_back(s);
	return 0;
}
