/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The wire between the kernel half and user space. This header is the single source: bpf/generate.py reads its BTF
 * (layout.bpf.c keeps every struct alive) and writes receiver/events.py.
 *
 * Rules: `struct event_<kind>` belongs to `EVENT_<KIND>`; the first member is the header; the unit stands in the name; no
 * holes, no bool, no pointers; all text follows the struct, in the order of its length fields:
 *   text_len   one string, without its NUL            -> str, secrets redacted as in a path
 *   line_len   one string that may quote a command     -> str, secrets redacted
 *   labels_len a name of DNS as it travels           -> str, tokens redacted
 *   texts_len  NUL-terminated strings, back to back    -> tuple[str, ...], secrets redacted in the values of NAME=value
 *   frames_len the same, names of functions, and paths -> tuple[str, ...], secrets redacted as in a path
 *   argv_len   the same, a command line                -> tuple[str, ...], secrets redacted
 * A field of a type <enum>_value holds one of that enum's values, a time or duration (_ns) less than 2^62 ns, an amount of bytes less
 * than 2^63: user space refuses a record that holds anything else.
 * Kinds and reasons are append-only: recordings outlive releases.
 */
#ifndef KWITNESS_EVENTS_H
#define KWITNESS_EVENTS_H

#include <linux/types.h>

/* Numbers that both halves need: bpf/generate.py writes them into receiver/constants.py, under the same names. */
enum constant {
	SECOND = 1000000000, /* ns */
	COMM_BYTES = 16,
	TEXT_BYTES = 4096, /* most bytes of any one text field */

	/* Sizes before load; user space sets its own. */
	LIFECYCLE_RING_BYTES = 4194304,
	UNWATCHED_RING_BYTES = 2097152,
	BULK_RING_BYTES = 1048576,
	NAMED_FILES = 256,   /* of one process in 10 s, reads and writes apart */
	NAMED_CHANGES = 256, /* renames, unlinks, … */
	PID_LIMIT = 4194304, /* PID_MAX_LIMIT, include/linux/threads.h */

	/* Which variables of an environment are told. */
	ENV_RULES = 256,
	ENV_RULE_BYTES = 64,
	ENV_EXACT = 1,
	ENV_PREFIX = 2,	 /* names below it that look like a secret are refused */
	ENV_BINDS = 256, /* added to either: a process that has it does the work of a task, and is watched */

	/* Which files are only counted. */
	NOISE_ENTRIES = 128, /* of each table */
	NOISE_SUFFIX_BYTES = 16,
	NOISE_COMPONENT_BYTES = 16,
	NOISE_PREFIX_BYTES = 64,
	NOISE_READS = 1, /* below a prefix: what is only read */
	NOISE_ALL = 3,
	TELLING_PACKAGE_BYTES = 32,

	/* A long command line has both ends, and between them this many bytes 0x01 and a NUL. */
	ARGV_MARK_BYTES = 3,

	/* Whose share was used up: a user, or this bit and the control group of one of root's processes. */
	CONTROL_GROUP_BIT = 63,
	LOSSES_BY_USER = 1024, /* rows: users, kinds and reasons */

	/* Who is named at an OOM kill. */
	MEMBER_PART = 64,
	MEMBERS_NAMED = 48,
	MEMBERS_LOOKED_AT = 32768, /* processes of the host */

	/* Processes of this age or less have further looks between their samples. */
	YOUNG_MS = 2000,

	/* Which processes are watched: one byte for each pid. */
	MARKS_PER_ENTRY = 64,
	MARK_WATCHED = 1, /* by the kernel half, or by user space for a process that cannot end meanwhile */
	MARK_ASKED = 2,	  /* by user space: of the process in asked_marks, if that one still has the pid */

	/* The frames of a Python interpreter. */
	PYTHON_ABSENT = 0xffff,	   /* an offset of a member that this version has not */
	PYTHON_FRAMES = 64,	   /* of one thread, the innermost ones */
	PYTHON_THREADS = 8,	   /* of one process, beside its main thread and the one that holds the lock */
	PYTHON_TEXT_BYTES = 512,   /* of a name */
	PYTHON_LINES_BYTES = 4096, /* of a line table */
};

/* A variable whose name holds one of these words is refused, even below an allowed prefix. */
#define SECRET_WORDS(word) \
	word(PASS) word(PWD) word(SECRET) word(TOKEN) word(KEY) word(CRED) word(AUTH) word(PRIVATE) word(COOKIE) word(CONN)

#define SECRET_ENUM(word) SECRET_##word,
enum secret_word { SECRET_WORDS(SECRET_ENUM) SECRET_WORD_COUNT };

#define ENV_BYTES 1024 /* most bytes of one environment variable; also one step of the walk over the environment */

typedef __u16 text_len;
typedef __u16 line_len;
typedef __u16 labels_len;
typedef __u16 texts_len;
typedef __u16 frames_len;
typedef __u16 argv_len;
typedef __u16 stdio_kind_value;
typedef __u32 oom_scope_value;
typedef __u16 file_reason_value;
typedef __u16 file_operation_value;
typedef __u16 call_kind_value;
typedef __u16 subject_kind_value;
typedef __u16 connection_stage_value;
typedef __u16 wait_object_value;
typedef __u32 mapping_kind_value;
typedef __u16 held_object_value;

enum event_kind {
	EVENT_FORK = 1,
	EVENT_EXEC = 2,
	EVENT_TITLE = 3,
	EVENT_EXIT = 4,
	EVENT_SIGNAL = 5,
	EVENT_OOM_KILL = 6,
	EVENT_OPEN_FILE = 7,
	EVENT_EXISTING = 8,
	EVENT_FILE_OPENED = 9,
	EVENT_FILE_CLOSED = 10,
	EVENT_FILE_CHANGED = 11,
	EVENT_FILE_TOTALS = 12,
	EVENT_CALL_FAILED = 13,
	EVENT_CONNECTION = 14,
	EVENT_NAME_QUERY = 15,
	EVENT_UNIX_CONNECTED = 16,
	EVENT_PROCESS_SAMPLE = 17,
	EVENT_THREAD_WAIT = 18,
	EVENT_NEIGHBOUR = 19,
	EVENT_CRASH = 20,
	EVENT_WAIT_STACK = 21,
	EVENT_OOM_MEMBER = 22,
	EVENT_OOM_MEMORY = 23,
	EVENT_SIGNAL_STATE = 24,
	EVENT_FAULT = 25,
	EVENT_THREADED_FORK = 26,
	EVENT_MEMORY_REFUSED = 27,
	EVENT_MEMORY_WAIT = 28,
	EVENT_LAST_FAILURE = 29,
	EVENT_HOLDER = 30,
	EVENT_EARLY_SAMPLE = 31,
	EVENT_PYTHON_STACK = 32,
	EVENT_KIND_COUNT = 33,
};

/* Why a record never reached a ring. */
enum loss_reason {
	LOSS_RING_FULL = 0,
	LOSS_FILE_LIMIT = 1, /* more files open for writing than FILES_PER_PROCESS */
	LOSS_TABLE_FULL = 2, /* a map had no room for the file, the process or the socket */
	LOSS_UNWATCHED = 3,  /* of a process that is not watched: their ring was full, or its user's share of it was used up */
	LOSS_USER_SHARE = 4, /* of a watched process: its user's share of a ring that was nearly full was used up */
	LOSS_RATE_LIMIT = 5, /* past the number that one user may cause per second */
	LOSS_BUSY = 6,	     /* the file of a crash: another thread changed the process's mappings while they were read */
	LOSS_NESTED = 7,     /* programs on one CPU had interrupted each other, and no room to build the record in was left */
	LOSS_RECURSION = 8,  /* a program was to run while it ran already on that CPU: the kernel refused it (recursion_misses) */
	LOSS_DESCRIPTOR_LIMIT = 9, /* a process at its death, or at a signal, had descriptors that were not looked at */
	LOSS_REASON_COUNT = 10,
};

/* Why a hook that fired made no record, on purpose. */
enum filter_reason {
	FILTER_SELF = 0,	  /* it was us */
	FILTER_THREAD = 1,	  /* a thread, not a process */
	FILTER_UNINTERESTING = 2, /* signal chatter, kernel threads, exec's own rename */
	FILTER_NOISE = 3,	  /* a file of the interpreter, the system or a pseudo file system: in the process's totals */
	FILTER_LIMIT = 4,	  /* past what is reported by name for one process: in its totals */
	FILTER_FOREIGN_CALL = 5,  /* a 32-bit system call, whose numbers mean other calls */
	FILTER_RATE_LIMIT = 6,	  /* past the number that one user may cause per second, of a kind that nothing depends on */
	FILTER_STALE_MARK = 7,	  /* a pid that was to be watched belongs to another process by now: that one is not */
	FILTER_REASON_COUNT = 8,
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
	IMAGE_ARGV_CUT = 1, /* argv longer than TEXT_BYTES: its two ends, and a string of 0x01 between them */
	IMAGE_ARGV_UNREADABLE = 2,
	IMAGE_ENVIRON_CUT = 4, /* allow-listed variables did not fit, or one was longer than ENV_BYTES */
	IMAGE_ENVIRON_UNREADABLE = 8,
	IMAGE_PATH_CUT = 16,
	IMAGE_EXECUTABLE_DELETED = 32,
	IMAGE_ROOT_OWNS = 64,  /* the executable belongs to root, and nobody else may write it */
	IMAGE_USER_OWNS = 128, /* it belongs to the user of the process, and nobody else may write it */
};

/* file_flags */
enum file_flag {
	FILE_DELETED = 1,	  /* no name leads to it any more */
	FILE_INHERITED_STDIO = 2, /* the parent holds the same open file as its own stdout or stderr */
	FILE_PATH_CUT = 4,
	FILE_SHARES_STDERR = 8, /* descriptor 2 is the same open file */
};

/* opened_flags */
enum opened_flag {
	OPENED_INHERITED = 1, /* it was open before the process was watched, or came with a fork: seen at its first use */
	OPENED_DELETED = 2,
	OPENED_PATH_CUT = 4,
	OPENED_ROOT_OWNS = 8,	       /* the file belongs to root, and nobody else may write it */
	OPENED_USER_OWNS = 16,	       /* it belongs to the user of the process, and nobody else may write it */
	OPENED_IN_FOLDER_OF_USER = 32, /* its folder belongs to the user of the process */
};

/* closed_flags */
enum closed_flag {
	CLOSED_BY_DEATH = 1,   /* the process ended with it open */
	CLOSED_UNSEEN = 2,     /* by O_CLOEXEC, close_range(2), dup2(2) or io_uring: found gone */
	CLOSED_SHARED = 4,     /* another descriptor of the process still leads to it */
	CLOSED_SYNCED = 8,     /* fsync, fdatasync, msync or sync_file_range after the last write */
	CLOSED_TRUNCATED = 16, /* cut to a size while open */
	CLOSED_MAPPED = 32,    /* mapped: bytes read through it are not counted */
	CLOSED_MAPPED_WRITABLE = 64,
	CLOSED_SHORT_WRITE = 128, /* a write took less than it was given */
	CLOSED_DELETED = 256,	  /* no name leads to it any more */
	CLOSED_SIZE_UNKNOWN = 512,
};

enum file_operation {
	OPERATION_RENAME = 1,
	OPERATION_UNLINK = 2,
	OPERATION_RMDIR = 3,
	OPERATION_TRUNCATE = 4,
	OPERATION_LINK = 5,
	OPERATION_SYMLINK = 6,
	OPERATION_MKDIR = 7,
	OPERATION_CHMOD = 8,
	OPERATION_CHOWN = 9,
};

/* Why a connection is told of. */
enum connection_stage {
	STAGE_CONNECTED = 1,
	STAGE_CLOSED = 2,
	STAGE_FAILED = 3,    /* it was never made */
	STAGE_SAMPLED = 4,   /* it lives */
	STAGE_LISTENING = 5, /* a listener, with its accept queue in queued and backlog */
};

/* connection_flags */
enum connection_flag {
	CONNECTION_ACCEPTED = 1, /* the owner listened; else it connected */
	CONNECTION_RESET_BY_PEER = 2,
	CONNECTION_RESET_SENT = 4,
	CONNECTION_LISTENER = 8,
};

/* member_flags */
enum member_flag {
	MEMBER_VICTIM = 1,
	MEMBER_TRIGGER = 2, /* its allocation failed */
	MEMBER_DYING = 4,   /* it was on its way out already */
};

/* look_flags */
enum look_flag {
	LOOK_CUT = 1,	      /* more processes than are looked at, or more members than are named */
	LOOK_GROUPS_CUT = 2,  /* more cgroups below the full one than are looked at: the parts of the memory are too small */
	LOOK_PARTS_KNOWN = 4, /* the parts of the memory were read */
	LOOK_SKIPPED = 8,     /* past the number of looks that one user may cause per second: only victim and trigger are told of */
};

/* state_flags of event_signal_state */
enum signal_flag {
	SIGNAL_IGNORED = 1,	    /* the target ignores it, and it was dropped */
	SIGNAL_SENDER_EXITS = 2,    /* the running task was on its way out */
	SIGNAL_PARENT_DEATH = 4,    /* the target had asked for it: PR_SET_PDEATHSIG, prctl(2) */
	SIGNAL_NAMESPACE_ENDS = 8,  /* the first process of a pid namespace ends, and the kernel kills the rest of it */
	SIGNAL_WITHOUT_CALL = 16,   /* no process called kill(2): the kernel sent it for the running task */
	SIGNAL_SAME_SESSION = 32,   /* sender and target */
	SIGNAL_SESSION_LEADER = 64, /* the sender */
	SIGNAL_TERMINAL = 128,	    /* the target has a controlling terminal */
	SIGNAL_TO_NAMESPACE_INIT = 256,
	SIGNAL_FROM_KERNEL_THREAD = 512,
};

/* What is mapped at an address. */
enum mapping_kind {
	MAPPING_NONE = 0,
	MAPPING_ANONYMOUS = 1,
	MAPPING_FILE = 2,    /* a regular file of a file system with a disk or a server behind it */
	MAPPING_MEMORY = 3,  /* a file in memory: tmpfs, /dev/shm, memfd */
	MAPPING_OTHER = 4,   /* a device, or huge pages */
	MAPPING_UNKNOWN = 5, /* the mappings were changed while they were read */
};

/* mapping_flags */
enum mapping_flag {
	MAPPING_SHARED = 1,
	MAPPING_WRITABLE = 2,
	MAPPING_DELETED = 4, /* no name leads to the file any more */
	MAPPING_PATH_CUT = 8,
};

/* refusal_flags */
enum refusal_flag {
	REFUSAL_ANONYMOUS = 1,
	REFUSAL_PRIVATE_WRITABLE = 2, /* counts against RLIMIT_DATA */
	REFUSAL_EXECUTABLE = 4,
	REFUSAL_NOEXEC = 8, /* of a file on a mount with the option noexec */
	REFUSAL_PATH_CUT = 16,
	REFUSAL_LOCKED = 32, /* counts against RLIMIT_MEMLOCK */
};

/* wait_object */
enum wait_object {
	WAIT_NOTHING = 0,
	WAIT_PIPE = 1,
	WAIT_SOCKET = 2,
	WAIT_FILE = 3,
	WAIT_OTHER = 4,
};

/* What a call that failed was about. */
enum subject_kind {
	SUBJECT_NONE = 0,
	SUBJECT_PATH_ASKED = 1, /* the string that the call was given: the only word there is of a path that does not exist */
	SUBJECT_FILE = 2,	/* the path of an open file */
	SUBJECT_ENDPOINT = 3,	/* address:port */
	SUBJECT_LOCK = 4,	/* a file that another process holds a lock on */
};

/* Which calls are alike, whatever their number. */
enum call_kind {
	CALL_OTHER = 0,
	CALL_OPEN = 1,
	CALL_READ = 2,
	CALL_WRITE = 3,
	CALL_SYNC = 4,
	CALL_CHANGE = 5, /* rename, unlink, truncate, link, mkdir, chmod, chown */
	CALL_EXEC = 6,
	CALL_CLONE = 7,
	CALL_LOCK = 8,
	CALL_CONNECT = 9,
	CALL_ACCEPT = 10,
	CALL_BIND = 11,
	CALL_MEMORY = 12,     /* mmap, mremap, brk */
	CALL_DESCRIPTOR = 13, /* pipe, socket, dup, epoll_create */
	CALL_ASK = 14,	      /* stat, access, readlink: a question, whose answer may be that there is nothing */
	CALL_ENTER = 15,      /* chdir, chroot */
	CALL_WATCH = 16,      /* inotify */
	CALL_LISTEN = 17,
};

/* failure_flags */
enum failure_flag {
	FAILURE_TEXT_CUT = 1,	 /* the path was too long to keep: there is none in the record */
	FAILURE_PROBE = 4,	 /* below a path where programs are installed: mostly a search for parts of themselves */
	FAILURE_THREAD_GONE = 2, /* its thread ended before the process: what it did later is not known */
};

/* python_flags */
enum python_flag {
	PYTHON_RAW = 1,	       /* frames as the interpreter keeps them; the source replaces them by texts */
	PYTHON_CUT = 2,	       /* it had more frames */
	PYTHON_DAMAGED = 4,    /* a part could not be read, or is not what an interpreter has there */
	PYTHON_HOLDS_LOCK = 8, /* it held the interpreter's lock (GIL): it was running Python code */
	PYTHON_MAIN_THREAD = 16,
	PYTHON_ALONE = 64,	 /* the only thread of its interpreter */
	PYTHON_TOOK_SIGNAL = 32, /* a fault of its own, or abort(3): the other threads were ended with it */
};

/* What one process holds while another one needs it. */
enum held_object {
	HELD_LOCK = 1,	     /* the open file that a lock of flock(2) or an open-file-description lock belongs to */
	HELD_POSIX_LOCK = 2, /* a lock of fcntl(2), which belongs to its process */
	HELD_TEXT = 3,	     /* a file that is open for writing and was to be executed */
	HELD_PIPE_WRITE = 4, /* the end of a pipe or FIFO that writes */
	HELD_PIPE_READ = 5,
	HELD_PORT = 6, /* a socket that is bound to the port */
};

/* holder_flags */
enum holder_flag {
	HOLDER_CUT = 1,	    /* not all processes and descriptors were looked at: there may be other holders */
	HOLDER_TOOK_IT = 2, /* of a lock: the same process had asked for it; else it came with a fork or a message */
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
	stdio_kind_value stdin_kind;
	stdio_kind_value stdout_kind;
	stdio_kind_value stderr_kind;
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
	stdio_kind_value stdin_kind;
	stdio_kind_value stdout_kind;
	stdio_kind_value stderr_kind;
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
	oom_scope_value scope;
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
	file_reason_value reason;
	__u16 signal; /* the one delivered, or the one that killed; 0 when it left by itself */
	__u32 file_flags;
	text_len path;
	__u16 _pad[1];
};

/* A file that a watched process opened, or first used when it was open already. */
struct event_file_opened {
	struct event_header header;
	struct process_key process;
	__u64 open_id; /* with the process: this opening, until its close */
	__u64 inode;
	__u64 size_bytes;
	__u32 device;
	__u32 generation; /* of the inode number, where the file system keeps one */
	__u32 open_flags; /* open(2) */
	__u32 descriptor;
	__u32 opened_flags;
	__u32 thread; /* who opened it: threads of one process can do the work of several tasks */
	text_len path;
	__u16 _pad[3];
};

struct event_file_closed {
	struct event_header header;
	struct process_key process;
	__u64 open_id;
	__u64 inode;
	__u64 size_bytes;
	__u64 read_bytes;
	__u64 read_calls;
	__u64 written_bytes;
	__u64 write_calls;
	__u64 last_use_boottime_ns; /* 0: never read or written; to the tick */
	__u32 device;
	__u32 open_flags;
	__u32 closed_flags;
	__u32 write_error; /* errno of the last write or sync that failed */
};

/* What a watched process did to a name. Relative paths are to their directory. */
struct event_file_changed {
	struct event_header header;
	struct process_key process;
	__u64 inode;	  /* of an open file (ftruncate, fchmod); else 0 */
	__u64 size_bytes; /* truncate: to which size; chmod: the mode */
	__u32 device;
	file_operation_value operation;
	text_len directory;
	text_len path;
	text_len new_directory;
	text_len new_path;
	__u16 _pad[1];
};

/* Of one watched process, at its end: every file it opened is in here once, and all bytes. */
struct event_file_totals {
	struct event_header header;
	struct process_key process;
	__u64 opened_files;   /* regular ones */
	__u64 reported_files; /* by name */
	__u64 noise_files;    /* interpreter, libraries, system */
	__u64 noise_read_bytes;
	__u64 unnamed_files; /* past the limit of names per process */
	__u64 unnamed_read_bytes;
	__u64 unnamed_written_bytes;
	__u64 unnamed_changes;
	__u64 io_uring_calls;	      /* what io_uring reads and writes is not in any sum */
	__u64 failed_calls_elsewhere; /* failures that had no slot left */
};

/* A system call that failed in a way that matters: once when it first happens, and again with the count at powers of 16 and
 * at the end of the process. */
struct event_call_failed {
	struct event_header header;
	struct process_key process;
	struct process_key holder; /* of the lock; its start time is not known */
	__u64 failures;
	__u64 first_boottime_ns;
	__u64 last_boottime_ns;
	__u64 address_high; /* of the peer, network order; IPv4 stands in the low 32 bits of address_low */
	__u64 address_low;
	__u32 call_number; /* of the architecture's 64-bit table */
	__u32 error;	   /* errno */
	call_kind_value call;
	subject_kind_value subject;
	__u16 family; /* AF_INET, AF_INET6; 0: no endpoint */
	__u16 port;
	text_len directory;
	text_len path;
	__u16 _pad[2];
};

/* One TCP connection of a watched process. Addresses stay in network order, IPv4 in the low 32 bits of the low half. */
struct event_connection {
	struct event_header header;
	struct process_key process;
	__u64 connection_id;	       /* when it began, boot ns: with the process, its name */
	__u64 established_boottime_ns; /* 0: never */
	__u64 local_high;
	__u64 local_low;
	__u64 peer_high;
	__u64 peer_low;
	__u64 sent_bytes; /* each once, however often it went out */
	__u64 received_bytes;
	__u64 unacknowledged_bytes;  /* written by the process, not acknowledged yet */
	__u64 unread_bytes;	     /* received, not read by the process yet */
	__u64 last_send_boottime_ns; /* to the tick; 0: never */
	__u64 last_receive_boottime_ns;
	__u32 rtt_us; /* smoothed */
	__u32 retransmits;
	__u32 network_namespace_inode;
	__u32 error; /* errno; 0: closed in order, or given up by the process */
	__u32 connection_flags;
	__u32 queued;
	__u32 backlog;
	connection_stage_value stage;
	__u16 state; /* TCP_*, include/net/tcp_states.h */
	__u16 family;
	__u16 local_port;
	__u16 peer_port;
	__u16 _pad[1];
};

/* A question to a name server over UDP port 53, or its answer. */
struct event_name_query {
	struct event_header header;
	struct process_key process;
	__u64 server_high;
	__u64 server_low;
	__u64 first_high; /* the first two addresses of an answer */
	__u64 first_low;
	__u64 second_high;
	__u64 second_low;
	__u16 family; /* of the server's address */
	__u16 query_id;
	__u16 query_flags; /* RFC 1035, 4.1.1; bit 15: an answer; the low four bits: its code */
	__u16 question_type;
	__u16 addresses;
	__u16 port;
	labels_len labels; /* the question's name as it travels: length bytes instead of dots */
	__u16 _pad[1];
};

struct event_unix_connected {
	struct event_header header;
	struct process_key process;
	__u32 peer_tgid; /* who listens */
	text_len path;
	__u16 _pad[1];
};

/* What a watched process is and has used by now. */
struct event_process_sample {
	struct event_header header;
	struct process_key process;
	__u64 anon_bytes;
	__u64 file_bytes;
	__u64 shmem_bytes;
	__u64 swap_bytes;
	__u64 peak_rss_bytes;
	__u64 major_faults;
	__u64 cpu_runtime_ns; /* these sums are over all threads, living and dead */
	__u64 run_delay_ns;   /* living threads only */
	__u64 voluntary_switches;
	__u64 involuntary_switches;
	__u64 read_bytes; /* from storage */
	__u64 written_bytes;
	__u64 read_call_bytes;
	__u64 write_call_bytes;
	__u64 memory_cgroup_id;
	__u64 memory_usage_bytes; /* of the cgroup above it that has the lowest limit */
	__u64 memory_limit_bytes; /* 0: none */
	__u64 memory_failures;	  /* how often that limit was hit */
	__u64 throttled_ns;	  /* of its CPU cgroup */
	__u64 cpu_stall_ns;	  /* pressure (PSI "some") of its cgroup in the default hierarchy; 0: not kept */
	__u64 memory_stall_ns;
	__u64 io_stall_ns;
	__u32 throttled_periods;
	__u32 cpu_periods;
	__u32 threads;
	__u32 running_threads;
	__u32 disk_threads; /* uninterruptible */
	__u32 open_descriptors;
	__u32 descriptor_max;
	__u32 _pad2;
};

/* What one thread of a watched process that does nothing waits for. */
struct event_thread_wait {
	struct event_header header;
	struct process_key process;
	__u64 inode;	    /* of the pipe, socket or file */
	__u64 address_high; /* of a socket's peer */
	__u64 address_low;
	__u64 idle_ns; /* of the whole process, so far */
	__u32 thread;
	__u32 call_number;  /* ~0: none */
	__u32 thread_state; /* bits of task->__state: 1 interruptible, 2 uninterruptible */
	__u32 lock_holder;
	__u32 child; /* any that lives */
	wait_object_value waits_on;
	__u16 timed; /* the call was given a timeout */
	__u16 family;
	__u16 port;
	__u16 _pad[2];
	char comm[COMM_BYTES];
};

/* A process that is not watched and that takes what a watched one needs. */
struct event_neighbour {
	struct event_header header;
	struct process_key process;
	__u64 rss_bytes;
	__u64 rss_growth_bytes; /* since the last look, modulo 2^64 */
	__u64 cpu_ns;		/* since the last look */
	__u64 interval_ns;
	__u64 memory_cgroup_id;
	__u32 shares_memory_cgroup;
	__u32 uid;
	char comm[COMM_BYTES];
};

/* What the target of a signal that can end it was doing, and who the sender is. For signals between two processes, one of which is
 * watched; after the event_signal, if there is one. */
struct event_signal_state {
	struct event_header header;
	struct process_key sender; /* the task that was running */
	struct process_key target;
	struct process_key sender_parent;
	struct process_key sender_grandparent;
	__u64 runtime_ns; /* CPU time of the thread below and of threads that have ended */
	__u64 anon_bytes;
	__u64 file_bytes;
	__u64 shmem_bytes;
	__u64 inode;	    /* of the pipe, socket or file that it waits at, or of the memory that its lock is in */
	__u64 address_high; /* of a socket's peer */
	__u64 address_low;  /* the same; of a lock in shared memory its place there */
	__u32 signal;
	__s32 code;
	__u32 state_flags;
	__u32 sender_uid;
	__u32 thread;	   /* of the target */
	__u32 on_cpu;	   /* it ran, or ran again already: the signal had woken it */
	__u32 call_number; /* that it was in; ~0: none, or not known */
	__u32 threads;
	wait_object_value waits_on;
	__u16 family;
	__u16 port;
	__u16 _pad2;
	char sender_comm[COMM_BYTES];
	char parent_comm[COMM_BYTES];
	char grandparent_comm[COMM_BYTES];
	char target_comm[COMM_BYTES];
};

/* What is mapped at the address whose use ended a process with SIGBUS; at that moment. */
struct event_fault {
	struct event_header header;
	struct process_key process;
	__u64 address;
	__u64 offset_bytes; /* of the address in the file */
	__u64 size_bytes;   /* of the file */
	__u64 inode;
	__u32 device;
	__u32 signal;
	__s32 code;
	mapping_kind_value mapping_kind;
	__u32 mapping_flags;
	text_len path;
	__u16 _pad[1];
};

/* A watched process that had several threads forked: the child has only the one that called. */
struct event_threaded_fork {
	struct event_header header;
	struct process_key process; /* the child */
	struct process_key parent;
	__u32 threads; /* of the parent, at the fork */
	__u32 _pad2;
};

/* Memory that was refused to a watched process, with the limits of that moment. */
struct event_memory_refused {
	struct event_header header;
	struct process_key process;
	__u64 asked_bytes;
	__u64 mapped_bytes;		 /* all its mappings */
	__u64 private_bytes;		 /* its private writable mappings */
	__u64 address_space_limit_bytes; /* RLIMIT_AS */
	__u64 data_limit_bytes;		 /* RLIMIT_DATA */
	__u64 locked_limit_bytes;	 /* RLIMIT_MEMLOCK */
	__u64 locked_bytes;
	__u32 mappings;
	__u32 mappings_max; /* vm.max_map_count */
	__u32 overcommit;   /* vm.overcommit_memory */
	__u32 call_number;
	__u32 error;
	__u32 refusal_flags;
	text_len path; /* of the file, if one was to be mapped */
	__u16 _pad[3];
};

/* What a watched process that began a moment ago has used, between its samples. */
struct event_early_sample {
	struct event_header header;
	struct process_key process;
	__u64 anon_bytes;
	__u64 file_bytes;
	__u64 shmem_bytes;
	__u64 cpu_runtime_ns; /* over all threads, living and dead */
};

/* A memory cgroup that is full and whose OOM killer is off (cgroup v1): each process that needs a page of it waits until somebody makes
 * room. With the sample of a watched process in it. */
struct event_memory_wait {
	struct event_header header;
	struct process_key process;
	__u64 memory_cgroup_id; /* of the one that is full */
	__u64 limit_bytes;
	__u64 usage_bytes;
	__u32 killer_disabled;
	__u32 _pad2;
};

/* Where the instruction stands at which a process died of a fault, or aborted itself. */
struct event_crash {
	struct event_header header;
	struct process_key process;
	__u64 address;	     /* of the instruction, as the process sees it */
	__u64 module_offset; /* of it in the file below, as addr2line(1) wants it for a shared object; 0: no file is mapped there */
	__u32 thread;
	__u32 signal;
	char comm[COMM_BYTES]; /* of the thread */
	text_len module;       /* the file that is mapped there */
	__u16 _pad[3];
};

/* Where in the kernel a thread of a watched process that does nothing stands; with its event_thread_wait. */
struct event_wait_stack {
	struct event_header header;
	struct process_key process;
	__u32 thread;
	text_len frames; /* innermost first, each as function+offset/size, separated by spaces */
	__u16 _pad;
};

/* One process in the memory that was full (of a cgroup and all below it, or of the host), as the OOM killer chose its victim. Told of
 * before the kill: the victim, the trigger, and each that held 1/MEMBER_PART of the limit or more. */
struct event_oom_member {
	struct event_header header;
	struct process_key process;
	struct process_key victim; /* whose kill it belongs to */
	__u64 anon_bytes;
	__u64 file_bytes;
	__u64 shmem_bytes;
	__u64 swap_bytes;
	__u64 private_bytes; /* its private writable mappings, used or not: what it had asked for */
	__u64 memory_cgroup_id;
	__u32 uid;
	__s32 oom_score_adj;
	__u32 member_flags;
	__u32 _pad2;
	char comm[COMM_BYTES];
};

/* The whole of that memory, at the same moment; before its members. */
struct event_oom_memory {
	struct event_header header;
	struct process_key victim;
	__u64 memory_cgroup_id; /* of the full one; 0: the host */
	__u64 limit_bytes;
	__u64 usage_bytes;
	__u64 anon_list_bytes; /* pages on the kernel's lists: anonymous, shared and in a tmpfs */
	__u64 file_list_bytes;
	__u64 unevictable_bytes;
	__u64 kernel_bytes; /* 0: not kept apart (cgroup v2) */
	__u64 anon_bytes;   /* sums over all members */
	__u64 file_bytes;
	__u64 shmem_bytes;
	__u64 swap_bytes;
	__u32 members;
	__u32 named;  /* each in a record of its own */
	__u32 groups; /* memory cgroups, the full one and those below it */
	__u32 look_flags;
};

/* One of the last system calls that failed in a watched process, which then failed itself: kept in the kernel until the end, and
 * told only then. Ordinary probing is among them, so `later_` says what the process did after it. */
struct event_last_failure {
	struct event_header header;
	struct process_key process;
	__u64 failed_boottime_ns;
	__u64 failures;	    /* of the same call with the same argument, one directly after the other */
	__u64 later_cpu_ns; /* of its thread, to the tick */
	__u64 later_read_bytes;
	__u64 later_written_bytes;
	__u64 address_high; /* of the endpoint, network order; IPv4 stands in the low 32 bits of address_low */
	__u64 address_low;
	__u32 later_files;	/* data files that the process opened */
	__u32 later_code_files; /* of the interpreter, of libraries and of the system */
	__u32 thread;
	__u32 call_number;
	__u32 error;
	__u32 open_descriptors; /* counted when none was to be had; else 0 */
	__u32 descriptor_max;
	__u32 failure_flags;
	call_kind_value call;
	subject_kind_value subject;
	__u16 family;
	__u16 port;
	text_len directory;
	text_len path;
	__u16 _pad[2];
};

/* Who has, at this moment, what a watched process was refused or waits for: one record for each holder. */
struct event_holder {
	struct event_header header;
	struct process_key process; /* who needs it */
	struct process_key holder;
	__u64 inode;
	__u32 device;
	__u32 descriptor; /* of the holder; ~0: a lock of fcntl(2) has none */
	__u32 holders;	  /* this one's number among them, from 1 on */
	__u32 holder_flags;
	held_object_value held;
	__u16 port;
	char comm[COMM_BYTES]; /* of the holder */
	text_len path;
	__u16 _pad[1];
};

/* The Python functions that a thread of a watched process was in when a signal ended the process. */
struct event_python_stack {
	struct event_header header;
	struct process_key process;
	__u64 walk_ns;
	__u32 thread;
	__u32 signal;
	__u32 version; /* of the interpreter, 0x030b for 3.11 */
	__u32 python_flags;
	frames_len frames; /* innermost first, three texts each: function, file, line (0: not known) */
	__u16 _pad[3];
};

#endif
