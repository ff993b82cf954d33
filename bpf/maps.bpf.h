/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every map with its bound, and what happens when it is full. `extern`-like sharing between the concern objects is done by
 * the linker (bpftool gen object): equal definitions of one map become one map. */
#ifndef KWITNESS_MAPS_BPF_H
#define KWITNESS_MAPS_BPF_H

#include "kernel.h"
#include "events.h"
#include <bpf/bpf_helpers.h>

#define RECORD_BYTES (5 * TEXT_BYTES + 512) /* the longest record: five texts and a struct */
#define PATH_NAME_BYTES 256		    /* NAME_MAX + 1 */

/* Lifecycle: never crowded out by files. Full: the record is lost and counted. User space may resize before load. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} lifecycle_ring __weak SEC(".maps");

/* Bulk: everything that can come in floods. Full: lost and counted. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} bulk_ring __weak SEC(".maps");

/* The ledger: seen = filtered + lost + submitted, per kind. One value per CPU, never full. */
struct ledger {
	u64 sequence;
	u64 seen[EVENT_KIND_COUNT];
	u64 submitted[EVENT_KIND_COUNT];
	u64 filtered[EVENT_KIND_COUNT][FILTER_REASON_COUNT];
	u64 lost[EVENT_KIND_COUNT][LOSS_REASON_COUNT];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct ledger);
} ledgers __weak SEC(".maps");

/* Allow-listed environment: "NAME=" allows one variable, "PREFIX_" all below it. Filled by user space before attaching. */
struct env_rule {
	u32 prefix_bits;
	char name[ENV_RULE_BYTES];
};

enum env_rule_kind {
	ENV_EXACT = 1,
	ENV_PREFIX = 2, /* names below it that look like a secret are refused */
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct env_rule);
	__type(value, u32);
} env_rules __weak SEC(".maps");

/* The same rules as a list, for the iterator: sleepable programs may not use tries. */
struct env_rule_entry {
	struct env_rule rule;
	u32 kind;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, u32);
	__type(value, struct env_rule_entry);
} env_rule_list __weak SEC(".maps");

/* Run-queue wait of threads that are gone, until their process ends. Full: the oldest is dropped, that sum comes out low. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct process_key);
	__type(value, u64);
} dead_thread_delay __weak SEC(".maps");

/* Room to build a record in. One slot per program: a program never runs twice at a time on one CPU (the kernel refuses and
 * counts that as recursion_misses), but two programs may. */
enum scratch_slot {
	SLOT_EXEC,
	SLOT_TITLE,
	SLOT_EXIT,
	SLOT_EXIT_FILES,
	SLOT_SIGNAL_FILES,
	SLOT_OOM,
	SLOT_EXISTING,
	SLOT_COUNT,
};

struct scratch {
	u32 used; /* bytes of `record` in use */
	/* What a bpf_loop callback reads back lives here and not on the stack: before 6.7 (ab5cfac139ab, "bpf: verify
	 * callbacks as if they are called unknown number of times") the verifier looked at one iteration only, took the stack's
	 * first values for constants, and removed the branches that later iterations need. */
	u32 path_position; /* of the first byte in `path`; TEXT_BYTES when it is empty */
	u32 files_found;
	u32 environ_bytes;
	u32 inside_variable; /* the piece at hand continues a variable longer than ENV_BYTES */
	u8 record[RECORD_BYTES];
	u8 path[TEXT_BYTES + PATH_NAME_BYTES]; /* paths are built from the end of the first TEXT_BYTES backwards */
	u8 chunk[ENV_BYTES];
	union {
		struct env_rule rule; /* what the trie looks at: the first bytes of `variable` */
		struct {
			u32 prefix_bits;
			char variable[ENV_BYTES];
		};
	};
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOT_COUNT);
	__type(key, u32);
	__type(value, struct scratch);
} scratches __weak SEC(".maps");

#endif
