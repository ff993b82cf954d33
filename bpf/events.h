/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The wire between the kernel half and user space. This header is the single source: bpf/generate.py reads its BTF
 * (layout.bpf.c keeps every struct alive) and writes receiver/events.py.
 *
 * Rules: `struct event_<kind>` belongs to `EVENT_<KIND>`; the first member is the header; the unit stands in the name; no
 * holes, no bool, no pointers; all text follows the struct, in the order of its length fields:
 *   text_len   one string, without its NUL            -> str
 *   line_len   one string that may quote a command     -> str, secrets redacted
 *   texts_len  NUL-terminated strings, back to back    -> tuple[str, ...]
 *   argv_len   the same, a command line                -> tuple[str, ...], secrets redacted
 * Kinds and reasons are append-only: recordings outlive releases.
 */
#ifndef KWITNESS_EVENTS_H
#define KWITNESS_EVENTS_H

#include <linux/types.h>

#define COMM_BYTES 16
#define TEXT_BYTES 4096 /* most bytes of any one text field */
#define ENV_BYTES 1024	/* most bytes of one environment variable; also one step of the walk over the environment */
#define ENV_RULE_BYTES 64

typedef __u16 text_len;
typedef __u16 line_len;
typedef __u16 texts_len;
typedef __u16 argv_len;

enum event_kind {
	EVENT_FORK = 1,
	EVENT_EXEC = 2,
	EVENT_TITLE = 3,
	EVENT_EXIT = 4,
	EVENT_SIGNAL = 5,
	EVENT_OOM_KILL = 6,
	EVENT_OPEN_FILE = 7,
	EVENT_EXISTING = 8,
	EVENT_KIND_COUNT = 9,
};

/* Why a record never reached a ring. */
enum loss_reason {
	LOSS_RING_FULL = 0,
	LOSS_FILE_LIMIT = 1, /* more files open for writing than FILES_PER_PROCESS */
	LOSS_REASON_COUNT = 2,
};

/* Why a hook that fired made no record, on purpose. */
enum filter_reason {
	FILTER_SELF = 0,	  /* it was us */
	FILTER_THREAD = 1,	  /* a thread, not a process */
	FILTER_UNINTERESTING = 2, /* signal chatter, kernel threads, exec's own rename */
	FILTER_REASON_COUNT = 3,
};

enum stdio_kind {
	STDIO_CLOSED = 0,
	STDIO_FILE = 1,
	STDIO_PIPE = 2,
	STDIO_SOCKET = 3,
	STDIO_DEVICE = 4,
	STDIO_OTHER = 5,
};

enum oom_scope {
	OOM_SCOPE_HOST = 0,
	OOM_SCOPE_CGROUP = 1,
};

enum file_reason {
	FILE_AT_DEATH = 0,
	FILE_AT_SIGNAL = 1,
};

/* image_flags */
enum image_flag {
	IMAGE_ARGV_CUT = 1, /* argv longer than TEXT_BYTES */
	IMAGE_ARGV_UNREADABLE = 2,
	IMAGE_ENVIRON_CUT = 4, /* allow-listed variables did not fit, or one was longer than ENV_BYTES */
	IMAGE_ENVIRON_UNREADABLE = 8,
	IMAGE_PATH_CUT = 16,
	IMAGE_EXECUTABLE_DELETED = 32,
};

/* file_flags */
enum file_flag {
	FILE_DELETED = 1,	  /* no name leads to it any more */
	FILE_INHERITED_STDIO = 2, /* the parent holds the same open file as its own stdout or stderr */
	FILE_PATH_CUT = 4,
	FILE_SHARES_STDERR = 8, /* descriptor 2 is the same open file */
};

struct process_key {
	__u64 start_boottime_ns;
	__u32 tgid;
	__u32 _pad;
};

struct event_header {
	__u64 time_boottime_ns;
	__u64 sequence; /* per CPU, counts every record that was tried, so that a hole shows */
	__u32 record_bytes;
	__u16 cpu;
	__u16 record_kind;
};

struct event_fork {
	struct event_header header;
	struct process_key process;
	struct process_key parent;	/* who called fork */
	struct process_key real_parent; /* set when it is not `parent` (CLONE_PARENT) */
	__u64 cgroup_id;
	__u32 uid;
	__u32 pid_namespace_pid;
	char comm[COMM_BYTES];
};

struct event_exec {
	struct event_header header;
	struct process_key process;
	struct process_key parent;	/* who gets SIGCHLD: a tracer while one is attached */
	struct process_key real_parent; /* set when it is not `parent` */
	__u64 cgroup_id;		/* of the default (v2) hierarchy */
	__u64 memory_cgroup_id;		/* of the hierarchy that the memory controller lives in */
	__u64 stdin_inode;
	__u64 stdout_inode;
	__u64 stderr_inode;
	__u32 uid;
	__u32 gid;
	__u32 argc;
	__u32 pid_namespace_pid;
	__u32 pid_namespace_inode;
	__u32 mount_namespace_inode;
	__u32 network_namespace_inode;
	__u16 stdin_kind;
	__u16 stdout_kind;
	__u16 stderr_kind;
	__u16 image_flags;
	char comm[COMM_BYTES];
	text_len executable;
	text_len working_directory;
	text_len memory_cgroup;
	argv_len argv;
	texts_len environ;
	__u16 _pad[1];
};

/* A process that lived before we attached; the same facts, read by an iterator. Its clock is the reading, not the exec. */
struct event_existing {
	struct event_header header;
	struct process_key process;
	struct process_key parent;
	struct process_key real_parent;
	__u64 cgroup_id;
	__u64 memory_cgroup_id;
	__u64 stdin_inode;
	__u64 stdout_inode;
	__u64 stderr_inode;
	__u32 uid;
	__u32 gid;
	__u32 argc; /* 0: the kernel does not keep it */
	__u32 pid_namespace_pid;
	__u32 pid_namespace_inode;
	__u32 mount_namespace_inode;
	__u32 network_namespace_inode;
	__u16 stdin_kind;
	__u16 stdout_kind;
	__u16 stderr_kind;
	__u16 image_flags;
	char comm[COMM_BYTES];
	text_len executable;
	text_len working_directory;
	text_len memory_cgroup;
	argv_len argv;
	texts_len environ;
	__u16 _pad[1];
};

struct event_title {
	struct event_header header;
	struct process_key process;
	char comm[COMM_BYTES];
	line_len title; /* C string at mm->arg_start: setproctitle overflows past arg_end */
	__u16 _pad[3];
};

struct event_exit {
	struct event_header header;
	struct process_key process;
	struct process_key real_parent;
	__u64 user_cpu_ns;    /* tick-sampled: scale by cpu_runtime_ns as getrusage(2) does */
	__u64 system_cpu_ns;  /* tick-sampled */
	__u64 cpu_runtime_ns; /* exact */
	__u64 run_delay_ns;   /* waited on a run queue, all threads */
	__u64 peak_rss_bytes;
	__u64 read_bytes;	/* from storage */
	__u64 written_bytes;	/* to storage */
	__u64 read_call_bytes;	/* by read(2) and friends */
	__u64 write_call_bytes; /* by write(2) and friends */
	__u32 wait_status;	/* as wait(2) gives it: exit code << 8 | core dump 0x80 | signal */
	__u32 uid;
	char comm[COMM_BYTES];
	line_len title; /* C string at mm->arg_start at the end; argv[0] when nobody wrote there */
	__u16 _pad[3];
};

struct event_signal {
	struct event_header header;
	struct process_key sender; /* the task that was running: meaningless when code says the kernel sent it */
	struct process_key target;
	__u32 signal;
	__s32 code; /* si_code, sigaction(2): 0 kill, -6 tgkill, 128 kernel */
	__u32 sender_uid;
	__u32 handled; /* 1: the target has a handler for it */
	char sender_comm[COMM_BYTES];
	char target_comm[COMM_BYTES];
};

struct event_oom_kill {
	struct event_header header;
	struct process_key victim;
	struct process_key trigger; /* whose allocation failed */
	__u64 anon_rss_bytes;
	__u64 file_rss_bytes;
	__u64 shmem_rss_bytes;
	__u64 limit_bytes; /* of the cgroup that was full; 0 for the host */
	__u64 usage_bytes;
	__u64 host_total_bytes;
	__u64 host_free_bytes;
	__u64 memory_cgroup_id;
	__u32 scope;
	__s32 oom_score_adj;
	char victim_comm[COMM_BYTES];
	char trigger_comm[COMM_BYTES];
	text_len memory_cgroup; /* the one that was full */
	text_len victim_cgroup;
	__u16 _pad[2];
};

/* A regular file that a process still has open for writing when it dies by a signal or with a status other than 0, or when
 * it is handed a SIGTERM, SIGINT or SIGHUP that it has a handler for. */
struct event_open_file {
	struct event_header header;
	struct process_key process;
	__u64 inode;
	__u64 position_bytes;
	__u64 size_bytes;
	__u32 device;	  /* st_dev, kernel encoding: major << 20 | minor */
	__u32 open_flags; /* open(2) */
	__u32 descriptor;
	__u16 reason;
	__u16 signal; /* the one delivered, or the one that killed; 0 when it left by itself */
	__u32 file_flags;
	text_len path;
	__u16 _pad[1];
};

#endif
