/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is known of Python interpreters, and the room for a walk over the frames of one. */
#ifndef KWITNESS_PYTHON_MAPS_BPF_H
#define KWITNESS_PYTHON_MAPS_BPF_H

#include "module.bpf.h"

#define KNOWN_INTERPRETERS 256 /* files */

/* Where an interpreter keeps what is walked over. Addresses are those of its file, offsets are in bytes; PYTHON_ABSENT: none. */
struct interpreter {
	u64 runtime;   /* _PyRuntime */
	u64 code_type; /* PyCode_Type */
	u64 first;     /* what the beginning of the file is loaded to */
	u64 code;      /* the first executable segment */
	u32 version;
	u32 interpreters; /* of _PyRuntime, their list */
	u32 next_interpreter;
	u32 threads;
	u32 next_thread;
	u32 thread_id;
	u32 frame;
	u32 current; /* of what `frame` points to, where it points to no frame */
	u32 lock;    /* of an interpreter that has one of its own, the pointer to it; else the three are of _PyRuntime */
	u32 lock_holder;
	u32 lock_taken;
	u32 frame_code;
	u32 previous;
	u32 instruction; /* a pointer where `bytecode` exists, else a number */
	u32 owner;
	u32 type;
	u32 file;
	u32 name;
	u32 first_line;
	u32 lines;
	u32 bytecode;
	u32 text_length;
	u32 text_state;
	u32 text_ascii; /* size of a text's head: the characters follow */
	u32 text_other;
	u32 bytes_size;
	u32 bytes_data;
	u32 _reserved;
};

struct mapped_file {
	u64 inode;
	u32 device;
	u32 _reserved;
};

/* Filled by user space, which reads the files. Full: the least recently used one is dropped, and read again when it is executed again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KNOWN_INTERPRETERS);
	__type(key, struct mapped_file);
	__type(value, struct interpreter);
} interpreters __weak SEC(".maps");

/* Dying processes whose interpreter was looked for. Full: the oldest is dropped, and looked for again. */
struct dying_python {
	u64 start_boottime_ns;
	u64 base;
	struct mapped_file file; /* inode 0: it has none that is known */
	u32 threads;		 /* told of */
	u32 _reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, struct dying_python);
} dying_pythons __weak SEC(".maps");

/* A walk over an interpreter's frames; pointers as numbers. */
struct python_walk {
	struct area_walk area; /* of the mappings looked at: this address, and below */
	u64 lowest;
	u64 root;
	u64 base;	 /* what the interpreter's file is moved by */
	u64 interpreter; /* PyInterpreterState */
	u64 next_interpreter;
	u64 thread;
	u64 identity;
	u64 frame;
	u64 code_type;
	struct mapped_file file;
	u32 attempts;
	u32 found;
	u32 frames;
	u32 flags;
};

/* One per CPU: signals are delivered with interrupts off. A walk lives here and not on the stack for the reason that struct scratch has. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct python_walk);
} python_walks __weak SEC(".maps");

/* Before the texts and the line table of one frame, while python_flags has PYTHON_RAW. Lengths in bytes. */
struct python_frame {
	u32 first_line;
	u32 instruction; /* as the version counts it */
	u32 flags;	 /* enum frame_part */
	u16 name_bytes;
	u16 file_bytes;
	u16 lines_bytes;
	u8 name_width; /* bytes of a character */
	u8 file_width;
};

enum frame_part {
	FRAME_NAME_CUT = 1,  /* its end is missing */
	FRAME_FILE_CUT = 2,  /* its beginning is missing */
	FRAME_LINES_CUT = 4, /* the end of its line table is missing */
};

#endif
