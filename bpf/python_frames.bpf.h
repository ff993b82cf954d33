/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The Python frames of the current thread: where the interpreter is mapped, the thread's state, its frames and their code objects.
 *
 * All of it is the memory of a process that may be hostile: each loop has a bound, each length a limit, and what is read is copied and
 * not believed. Each frame's code must be of the interpreter's own type `code`, so that stale or foreign memory is not taken for a frame.
 */
#ifndef KWITNESS_PYTHON_FRAMES_BPF_H
#define KWITNESS_PYTHON_FRAMES_BPF_H

#include "python_maps.bpf.h"

#define AREA_STEPS 2048	     /* nodes of the tree of mappings */
#define THREAD_STEPS 2048    /* interpreters and their threads */
#define FRAME_STEPS 128	     /* with the frames between C and Python, which are left out */
#define OWNED_BY_C_STACK 3   /* FRAME_OWNED_BY_CSTACK, 3.12 and later: not a Python function */
#define TEXT_LIMIT 0x1000000 /* characters: longer ones are no names */
#define LINES_LIMIT 0x8000000

struct python_context {
	struct scratch *scratch;
	struct python_walk *walk;
	struct interpreter *known;
};

static __always_inline bool read_user(void *to, u32 bytes, u64 from)
{
	return from && !bpf_probe_read_user(to, bytes, (void *)from);
}

static __always_inline u64 user_pointer(u64 at)
{
	u64 pointer = 0;

	read_user(&pointer, sizeof(pointer), at);
	return pointer;
}

static __always_inline void identify_file(struct mapped_file *to, struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	to->inode = BPF_CORE_READ(inode, i_ino);
	to->device = BPF_CORE_READ(inode, i_sb, s_dev);
}

/* The first address for which a node has the same entry as for this one; 0: the node itself begins there. Global: see share.bpf.h. */
__weak __noinline u64 lowest_of_entry(u64 entry, u64 address)
{
	u64 pivots[MAPLE_RANGE_PIVOTS] = {}, node = entry & ~MAPLE_NODE_MASK, lowest = 0;
	u32 type = entry >> MAPLE_TYPE_SHIFT & MAPLE_TYPE_MASK, count = MAPLE_RANGE_PIVOTS, i;

	if (type == MAPLE_ARANGE_64) {
		count = MAPLE_ARANGE_PIVOTS;
		bpf_probe_read_kernel(pivots, MAPLE_ARANGE_PIVOTS * sizeof(u64),
				      (void *)node + bpf_core_field_offset(struct maple_arange_64, pivot));
	} else {
		bpf_probe_read_kernel(pivots, MAPLE_RANGE_PIVOTS * sizeof(u64),
				      (void *)node + bpf_core_field_offset(struct maple_range_64, pivot));
	}
	for (i = 0; i < MAPLE_RANGE_PIVOTS; i++) {
		if (i >= count || pivots[i] >= address)
			break;
		lowest = pivots[i] + 1;
	}
	return lowest;
}

/* One node of the tree of mappings; downwards, because libraries lie near the top. Stops at the beginning of an interpreter's file. */
static long on_mapping(u32 index, struct python_context *c)
{
	struct python_walk *w = c->walk;
	struct vm_area_struct *area;
	struct interpreter *known;
	struct file *file;
	u64 lowest;

	if (!w->area.entry) {
		w->area.entry = w->root;
		w->lowest = 0;
		w->area.answer = AREA_CHANGED;
	}
	lowest = lowest_of_entry(w->area.entry, w->area.address);
	if (lowest)
		w->lowest = lowest;
	if (!on_maple_node(index, &w->area))
		return 0;
	if (w->area.answer == AREA_CHANGED) {
		w->area.entry = 0;
		return ++w->attempts >= MAPLE_ATTEMPTS;
	}
	if (w->area.answer == AREA_FOUND) {
		area = (void *)w->area.entry;
		file = BPF_CORE_READ(area, vm_file);
		if (file && !BPF_CORE_READ(area, vm_pgoff)) {
			identify_file(&w->file, file);
			known = bpf_map_lookup_elem(&interpreters, &w->file);
			if (known) {
				w->base = BPF_CORE_READ(area, vm_start) - known->first;
				w->found = 1;
				return 1;
			}
		}
	}
	w->area.entry = 0;
	w->area.address = w->lowest - 1;
	return !w->lowest;
}

/* Fills `base` and `file`, and sets `found`. */
static __always_inline void find_interpreter(struct python_context *c, struct task_struct *task)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct python_walk *w = c->walk;
	struct interpreter *known;

	identify_file(&w->file, BPF_CORE_READ(mm, exe_file));
	known = bpf_map_lookup_elem(&interpreters, &w->file);
	if (known) {
		w->base = BPF_CORE_READ(mm, start_code) - known->code;
		w->found = 1;
		return;
	}
	if (!bpf_core_field_exists(mm->mm_mt)) /* before 6.1 */
		return;
	w->root = (u64)BPF_CORE_READ(mm, mm_mt.ma_root);
	if (!is_maple_root(w->root))
		return;
	w->area.entry = 0;
	w->area.address = BPF_CORE_READ(mm, mmap_base);
	w->attempts = 0;
	bpf_loop(AREA_STEPS, on_mapping, c, 0);
}

/* Looks for the state of the current thread, in all interpreters of the process. */
static long on_thread_state(u32 index, struct python_context *c)
{
	struct python_walk *w = c->walk;
	struct interpreter *known = c->known;
	u64 identity = 0;

	if (!known)
		return 1;
	if (!w->thread) {
		w->interpreter = w->next_interpreter;
		if (!w->interpreter)
			return 1;
		w->thread = user_pointer(w->interpreter + known->threads);
		w->next_interpreter = user_pointer(w->interpreter + known->next_interpreter);
		return 0;
	}
	if (!read_user(&identity, sizeof(identity), w->thread + known->thread_id))
		return 1;
	if (identity == w->identity) {
		w->found = 1;
		return 1;
	}
	w->thread = user_pointer(w->thread + known->next_thread);
	return 0;
}

/* The characters of a str; of a long one the beginning, or the end. */
static __noinline u32 append_text(struct scratch *s, struct interpreter *known, u64 object, u32 keep_end)
{
	u64 length = 0, data;
	u32 state = 0, width, bytes;
	u8 *room;

	if (!s || !known)
		return 0;
	room = text_room(s);
	if (!room || !read_user(&length, sizeof(length), object + known->text_length) ||
	    !read_user(&state, sizeof(state), object + known->text_state))
		return 0;
	width = state >> 2 & 7; /* interned:2, kind:3, compact:1, ascii:1 */
	if (!(state & 0x20) || (width != 1 && width != 2 && width != 4) || length > TEXT_LIMIT)
		return 0;
	data = object + (state & 0x40 ? known->text_ascii : known->text_other);
	bytes = length * width;
	if (bytes > PYTHON_TEXT_BYTES) {
		if (keep_end)
			data += bytes - PYTHON_TEXT_BYTES;
		bytes = PYTHON_TEXT_BYTES;
		width |= 0x80;
	}
	if (!bytes || bpf_probe_read_user(room, bytes, (void *)data))
		return 0;
	s->used += bytes;
	return width << 16 | bytes;
}

/* As much of a line table as the instruction needs, by a generous guess: an entry is seldom longer than twice its instructions. */
static __noinline u32 append_lines(struct scratch *s, struct interpreter *known, u64 object, u64 instruction)
{
	u64 size = 0;
	u32 bytes;
	u8 *room;

	if (!s || !known)
		return 0;
	room = text_room(s);
	if (!room || !read_user(&size, sizeof(size), object + known->bytes_size) || size > LINES_LIMIT || instruction > LINES_LIMIT)
		return 0;
	bytes = instruction * 2 + 64;
	if (bytes > size)
		bytes = size;
	if (bytes > PYTHON_LINES_BYTES)
		bytes = PYTHON_LINES_BYTES;
	if (!bytes || bpf_probe_read_user(room, bytes, (void *)(object + known->bytes_data)))
		return 0;
	s->used += bytes;
	return bytes | (bytes < size ? 0x10000 : 0);
}

static __always_inline void append_code(struct python_context *c, struct interpreter *known, u64 code, u64 instruction)
{
	struct scratch *s = c->scratch;
	struct python_frame *head;
	u32 text;

	head = (void *)text_room(s);
	if (!head) {
		c->walk->flags |= PYTHON_CUT;
		return;
	}
	s->used += sizeof(*head);
	head->first_line = 0;
	head->flags = 0;
	if (!read_user(&head->first_line, sizeof(head->first_line), code + known->first_line))
		c->walk->flags |= PYTHON_DAMAGED;
	head->instruction = instruction;
	text = append_text(s, known, user_pointer(code + known->name), 0);
	head->name_bytes = text & 0xffff;
	head->name_width = text >> 16 & 7;
	if (text & 0x800000)
		head->flags |= FRAME_NAME_CUT;
	text = append_text(s, known, user_pointer(code + known->file), 1);
	head->file_bytes = text & 0xffff;
	head->file_width = text >> 16 & 7;
	if (text & 0x800000)
		head->flags |= FRAME_FILE_CUT;
	text = append_lines(s, known, user_pointer(code + known->lines), instruction);
	head->lines_bytes = text & 0xffff;
	if (text & 0x10000)
		head->flags |= FRAME_LINES_CUT;
	c->walk->frames++;
}

static long on_frame(u32 index, struct python_context *c)
{
	struct python_walk *w = c->walk;
	struct interpreter *known = c->known;
	u64 frame = w->frame, code, instruction = 0;
	u8 owner = 0;

	if (!known || !frame)
		return 1;
	if (w->frames >= PYTHON_FRAMES) {
		w->flags |= PYTHON_CUT;
		w->frame = 0;
		return 1;
	}
	code = user_pointer(frame + known->frame_code);
	w->frame = user_pointer(frame + known->previous);
	if (known->owner != PYTHON_ABSENT)
		read_user(&owner, sizeof(owner), frame + known->owner);
	if (owner == OWNED_BY_C_STACK)
		return 0;
	if (!code || user_pointer(code + known->type) != w->code_type) {
		w->flags |= PYTHON_DAMAGED;
		w->frame = 0;
		return 1;
	}
	if (known->bytecode == PYTHON_ABSENT)
		read_user(&instruction, sizeof(u32), frame + known->instruction);
	else
		instruction = user_pointer(frame + known->instruction) - code - known->bytecode;
	append_code(c, known, code, instruction);
	return 0;
}

#endif
