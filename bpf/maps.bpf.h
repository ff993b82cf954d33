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

/* Three rings, so that a flood of one sort does not crowd out the others. Full: the record is lost and counted. User space may
 * resize them before load. */
enum ring {
	RING_LIFECYCLE, /* life, death and signals of watched processes */
	RING_UNWATCHED, /* the same of all others: attribution by ancestry needs them */
	RING_BULK,	/* what watched processes do: files, connections, failing calls */
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, LIFECYCLE_RING_BYTES);
} lifecycle_ring __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, UNWATCHED_RING_BYTES);
} unwatched_ring __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, BULK_RING_BYTES);
} bulk_ring __weak SEC(".maps");

/* What one user may still cause. Full: the least recently used entry is dropped, and that user begins with a whole share. */
struct share_key {
	u64 user; /* accountable_user() */
	u64 what; /* enum share */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct share_key);
	__type(value, u64); /* boot ns until which the user's past records have used its rate up */
} user_shares __weak SEC(".maps");

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

/* The ledger's losses for a user's used-up share, by user: what one user lost says nothing about the work of the others. Full: the
 * least recently counted row is dropped, and begins again at 0; what user space had not read of it then counts for everybody. */
struct user_loss {
	u64 user; /* accountable_user() */
	u32 kind;
	u32 reason;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LOSSES_BY_USER);
	__type(key, struct user_loss);
	__type(value, u64);
} user_losses __weak SEC(".maps");

/* Allow-listed environment: "NAME=" allows one variable, "PREFIX_" all below it. Filled by user space before attaching. */
struct env_rule {
	u32 prefix_bits;
	char name[ENV_RULE_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, ENV_RULES);
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
	__uint(max_entries, ENV_RULES);
	__type(key, u32);
	__type(value, struct env_rule_entry);
} env_rule_list __weak SEC(".maps");

/* What the ended threads of a living process used. The kernel's own sums in signal_struct do not serve: it has none for the
 * run-queue wait, and it adds the bytes of each reaped child to those of its parent (wait_task_zombie, kernel/exit.c). */
struct dead_threads {
	u64 run_delay_ns;
	u64 read_bytes;
	u64 written_bytes;
	u64 read_call_bytes;
	u64 write_call_bytes;
};

/* Full: the oldest is dropped, the sums of that process come out low. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct process_key);
	__type(value, struct dead_threads);
} dead_threads __weak SEC(".maps");

/* Watched processes: one byte per pid (MARK_WATCHED or MARK_ASKED), so that the question costs one inlined look-up. Written by
 * fork, by exec (when the environment names a task), and by user space through a mapping of it; cleared at exit. Sized by pid_max
 * before load: a pid beyond it is not watched. */
struct marks {
	u8 of[MARKS_PER_ENTRY];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PID_LIMIT / MARKS_PER_ENTRY);
	__type(key, u32);
	__type(value, struct marks);
} watch_marks __weak SEC(".maps");

/* When the last watched process began to be watched, boot ns: whether there are young ones to look at. Never full. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} youngest __weak SEC(".maps");

/* When the processes began that user space asks to watch: it knows of a process by records, and by now another one may have the
 * pid. Compared at the first use of the mark. Full: the least recently used one is dropped, and its process is not watched. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, u32);
	__type(value, u64); /* start_boottime */
} asked_marks __weak SEC(".maps");

/* What is summed up for one watched process until its end. */
#define FAILURE_SLOTS 16

struct failure {
	u32 number;
	u32 error;
	u64 failures;
	u64 first_ns;
	u64 last_ns;
};

struct watched {
	u64 start_boottime_ns;
	u64 last_open_id;
	u32 files_tracked; /* entries of this process in tracked_files */
	u32 highest_descriptor;
	u64 window_ns; /* since when these are counted: what lives long is not silent for ever */
	u32 reads_reported;
	u32 writes_reported;
	u32 changes_reported;
	u64 last_runtime_ns; /* at the last sample */
	u64 last_call_bytes;
	u64 idle_since_ns; /* no CPU and no bytes since this sample; 0: it works */
	u32 idle_looks;
	u32 report_threads;
	u32 threads_told;   /* at this look */
	u32 peers_reported; /* unix sockets */
	u32 queries_reported;
	u32 last_failures; /* of this image: where the next one is kept */
	u32 lock_holder;   /* of the last lock that was refused or waited for */
	u32 last_questions;
	u32 failures_kept;  /* bit n: last_failures has an entry n of this process */
	u64 lock_looked_ns; /* when that lock's holders were looked for */
	u64 lock_file;	    /* struct file * of whoever has it, as of then */
	u64 holders_looked_ns;
	u64 opened_files;
	u64 reported_files;
	u64 noise_files;
	u64 noise_read_bytes;
	u64 unnamed_files;
	u64 unnamed_read_bytes;
	u64 unnamed_written_bytes;
	u64 unnamed_changes;
	u64 io_uring_calls;
	u64 failed_calls_elsewhere;
	struct failure failures[FAILURE_SLOTS];
};

/* Full: that process's files and failures are not seen, and counted as lost. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, struct watched);
} watched_processes __weak SEC(".maps");

/* The last calls of a watched process that failed. Those that only ask, and those that probe where programs are installed, have
 * slots of their own: they are many, and must not take the place of the others. */
#define LAST_FAILURES 6
#define LAST_QUESTIONS 2
#define LAST_TEXT_BYTES 512

struct last_failure_key {
	u32 tgid;
	u32 slot;
};

struct last_failure {
	u64 argument;
	u64 cpu_ns; /* these as they were at the failure */
	u64 read_bytes;
	u64 written_bytes;
	u64 files;
	u64 code_files;
	struct event_last_failure e;
	u8 text[LAST_TEXT_BYTES]; /* directory and path */
};

/* Full: that failure is not kept, and counted as lost. Entries leave with their process. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct last_failure_key);
	__type(value, struct last_failure);
} last_failures __weak SEC(".maps");

enum track_state {
	TRACK_REPORTED = 1,
	TRACK_NOISE = 2,
	TRACK_UNNAMED = 3,
	TRACK_OTHER = 4,    /* no regular file: only remembered so that it is not looked at again */
	TRACK_DATAGRAM = 5, /* a UDP socket: it may yet talk to a name server */
};

struct file_key {
	u32 tgid;
	u32 descriptor;
};

struct tracked_file {
	u64 file;  /* struct file *: another one behind the same descriptor is another opening */
	u64 inode; /* struct inode * */
	u64 inode_number;
	u64 open_id;
	u64 read_bytes;
	u64 read_calls;
	u64 written_bytes;
	u64 write_calls;
	u64 last_use_tick;
	u64 last_use_ns; /* when the tick of the last use began to be used */
	u32 device;
	u32 open_flags;
	u32 closed_flags;
	u32 write_error;
	u32 state;
	u32 shared; /* a descriptor was duplicated: look for others before calling it closed */
	u32 generation;
	u32 _reserved;
};

/* Full: the file is not followed, and counted as lost. Entries leave at close and at the end of their process. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct file_key);
	__type(value, struct tracked_file);
} tracked_files __weak SEC(".maps");

/* What is known of a socket of a watched process; the kernel frees it with the socket. A listener's is copied to what it
 * accepts: there the running task is the peer's. */
struct connection {
	struct process_key owner;
	u64 user; /* accountable_user(owner) */
	u64 began_ns;
	u64 established_ns;
	u32 flags;
	u32 done; /* its end was told */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct connection);
} connections __weak SEC(".maps");

/* Memory cgroups that watched processes live in, and their parents: who else is in there is a neighbour. Full: the oldest
 * goes, and its next sample brings it back. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u64);
} watched_cgroups __weak SEC(".maps");

/* The last look at processes that are not watched. Full: the oldest goes; it is new again at its next look. */
struct neighbour {
	u64 start_boottime_ns;
	u64 at_ns;
	u64 rss_pages;
	u64 cpu_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct neighbour);
} neighbours __weak SEC(".maps");

/* Names that mark a file that is only read as the interpreter's or the system's. Filled by user space. */
struct noise_suffix {
	char of[NOISE_SUFFIX_BYTES]; /* from the last dot on, NUL-padded */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NOISE_ENTRIES);
	__type(key, struct noise_suffix);
	__type(value, u32);
} noise_suffixes __weak SEC(".maps");

/* Files that were found to be noise when they were last opened for reading: libraries are opened by every program, and the walk
 * over their paths need not be repeated. The generation keeps a number that is used again apart. */
struct file_identity {
	u64 inode;
	u32 device;
	u32 generation;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct file_identity);
	__type(value, u8);
} noise_files __weak SEC(".maps");

/* Directories whose contents are somebody's code. */
struct noise_component {
	char of[NOISE_COMPONENT_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NOISE_ENTRIES);
	__type(key, struct noise_component);
	__type(value, u32);
} noise_components __weak SEC(".maps");

struct telling_package {
	char of[TELLING_PACKAGE_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct telling_package);
	__type(value, u32);
} telling_packages __weak SEC(".maps");

struct noise_prefix {
	u32 prefix_bits;
	char path[NOISE_PREFIX_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, NOISE_ENTRIES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct noise_prefix);
	__type(value, u32);
} noise_prefixes __weak SEC(".maps");

/* Room to build a record in. A program takes one that is free on its CPU and gives it back: it may have been interrupted or, as a
 * program on a function, preempted by another one, which must not write into the same. They do not end in the order in which
 * they began, so that a count of the depth would not do. Only programs on system calls can be preempted by many others of their
 * kind; they leave some for the life and death of processes. Full: the record is lost, LOSS_NESTED. */
#define CALL_SCRATCHES 3
#define SCRATCHES 5

/* The beginning and the end of a name: compared as numbers. */
#define NAME_PIECE 16

struct name_pieces {
	u64 head[2];
	u64 tail[2];
	u32 length;
	u32 _reserved;
};

/* A walk over all processes and their descriptors; pointers as numbers. */
struct holder_walk {
	u64 asker; /* struct task_struct * */
	u64 at;
	u64 first;
	u64 slots; /* struct file ** */
	u64 file;  /* of the holder that was found last */
	u64 what;  /* struct file *, struct inode * or struct net * */
	u32 object;
	u32 port;
	u32 max_fds;
	u32 left; /* descriptors to look at */
	u32 descriptor;
	u32 found;
	u32 taken_by; /* of a lock */
	u32 holder;
	u32 flags;
	u32 done;
	struct name_pieces name;
};

/* A walk up a path; pointers as numbers. */
struct path_walk {
	u64 dentry;
	u64 mount;
	u64 root_dentry; /* where the process's own view begins: chroot(2), pivot_root(2) */
	u64 root_mount;
	u64 node; /* struct kernfs_node * */
	u64 done;
};

/* A look at all processes, at an OOM kill; pointers as numbers. */
struct member_walk {
	u64 task;
	u64 first;
	u64 victim; /* group leaders */
	u64 trigger;
	u64 full; /* struct cgroup_subsys_state *; 0: all processes are in it */
	u64 part_bytes;
	u32 ring;
	u32 finished;
};

struct scratch {
	u32 taken;
	u32 used; /* bytes of `record` in use */
	u32 slot; /* which of the scratches of this CPU it is */
	u32 _reserved;
	u64 task; /* struct task_struct *: whose view paths are of, and whose user's share the record takes from */
	struct path_walk path_walk;
	struct member_walk members;
	/* What a bpf_loop callback reads back lives here and not on the stack: before 6.7 (ab5cfac139ab, "bpf: verify
	 * callbacks as if they are called unknown number of times") the verifier looked at one iteration only, took the stack's
	 * first values for constants, and removed the branches that later iterations need. */
	u32 path_position; /* of the first byte in `path`; TEXT_BYTES when it is empty */
	u32 files_found;
	u32 look_for_noise; /* compare the components of the path at hand */
	u32 in_noise;
	struct noise_component component;
	struct noise_prefix prefix;
	struct tracked_file fresh;
	struct holder_walk walk;
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
	__uint(max_entries, SCRATCHES);
	__type(key, u32);
	__type(value, struct scratch);
} scratches __weak SEC(".maps");

/* The same for records with little text, of iterators: only we read those, one at a time, so each kind has a slot of its own. */
#define SMALL_RECORD_BYTES 1024

enum small_slot {
	SLOT_SOCKETS,
	SLOT_SAMPLE,
	SLOT_THREAD,
	SLOT_STACK,
	SLOT_COUNT,
};

struct small_scratch {
	u32 used;
	u32 _reserved;
	u8 record[SMALL_RECORD_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOT_COUNT);
	__type(key, u32);
	__type(value, struct small_scratch);
} small_scratches __weak SEC(".maps");

#endif
