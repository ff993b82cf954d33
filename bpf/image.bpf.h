/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What an executable image is: shared by exec and by the iterator over processes that lived before us. */
#ifndef KWITNESS_IMAGE_BPF_H
#define KWITNESS_IMAGE_BPF_H

#include "owner.bpf.h"
#include "path.bpf.h"

#define ENV_STEPS 1024	    /* variables, or pieces of ENV_BYTES, looked at per exec; the rest is reported as cut */
#define SECRET_WORD_BYTES 8 /* what eight_bytes() compares */
#define SECRET_TEXT(word) #word,

static const char secret_words[SECRET_WORD_COUNT][SECRET_WORD_BYTES] = {SECRET_WORDS(SECRET_TEXT)};

_Static_assert(sizeof(struct event_exec) == sizeof(struct event_existing), "one filler serves both");
_Static_assert(__builtin_offsetof(struct event_exec, environ) == __builtin_offsetof(struct event_existing, environ), "same");

struct env_walk {
	struct scratch *scratch;
	struct task_struct *task; /* NULL: the current one */
	u64 at;
	u64 end;
	u16 flags;
	u32 secret;
	u32 kind;
	u32 binds; /* a variable says whose work this is */
};

/* Names are compared eight bytes at a time: byte loops made the verifier's work, and so every start, four times as long. */
static __always_inline u64 eight_bytes(const void *from)
{
	return *(const u64 *)from; /* both architectures load from anywhere */
}

static long on_secret_step(u32 index, struct env_walk *walk)
{
	struct scratch *s = walk->scratch;
	u64 found, wanted, mask;
	u32 word;

	if (index >= ENV_RULE_BYTES || s->variable[index] == '=' || !s->variable[index])
		return 1;
	found = eight_bytes(&s->variable[index]) & ~0x2020202020202020ULL;
	for (word = 0; word < SECRET_WORD_COUNT; word++) {
		wanted = eight_bytes(secret_words[word]);
		mask = ((wanted & 0x4040404040404040ULL) >> 6) * 0xff; /* all letters have that bit, the NULs behind have not */
		if ((found & mask) == wanted) {
			walk->secret = 1;
			return 1;
		}
	}
	return 0;
}

static long on_rule_step(u32 index, struct env_walk *walk)
{
	struct env_rule_entry *entry = bpf_map_lookup_elem(&env_rule_list, &index);
	u64 difference;
	s32 left;
	u32 i;

	if (!entry || !entry->kind)
		return 1;
	left = entry->rule.prefix_bits;
	for (i = 0; i < ENV_RULE_BYTES; i += 8) {
		difference = eight_bytes(&entry->rule.name[i]) ^ eight_bytes(&walk->scratch->variable[i]);
		if (left < 64)
			difference &= (1ULL << (left & 63)) - 1;
		if (difference)
			return 0;
		left -= 64;
		if (left <= 0)
			break;
	}
	walk->kind = entry->kind;
	return 1;
}

static __always_inline u32 rule_kind(struct env_walk *walk, const bool sleepable)
{
	struct scratch *s = walk->scratch;
	u32 *kind;

	if (sleepable) {
		walk->kind = 0;
		bpf_loop(ENV_RULES, on_rule_step, walk, 0);
		return walk->kind;
	}
	s->rule.prefix_bits = ENV_RULE_BYTES * 8;
	kind = bpf_map_lookup_elem(&env_rules, &s->rule);
	return kind ? *kind : 0;
}

static __always_inline bool is_allowed(struct env_walk *walk, const bool sleepable)
{
	u32 kind = rule_kind(walk, sleepable);

	if (kind & ENV_BINDS)
		walk->binds = 1;
	kind &= ~ENV_BINDS;
	if (kind != ENV_PREFIX)
		return kind == ENV_EXACT;
	walk->secret = 0;
	bpf_loop(ENV_RULE_BYTES, on_secret_step, walk, 0);
	return !walk->secret;
}

/* One variable (or one piece of a long one) is in scratch->variable, `bytes` with its NUL. */
static __always_inline long take_variable(struct env_walk *walk, long bytes, const bool sleepable)
{
	struct scratch *s = walk->scratch;
	bool whole = bytes < ENV_BYTES;
	u16 added;

	if (bytes <= 0) {
		walk->flags |= IMAGE_ENVIRON_UNREADABLE;
		return 1;
	}
	walk->at += whole ? bytes : bytes - 1;
	if (s->inside_variable) {
		s->inside_variable = !whole;
		return 0;
	}
	s->inside_variable = !whole;
	if (!is_allowed(walk, sleepable))
		return 0;
	if (!whole)
		walk->flags |= IMAGE_ENVIRON_CUT;
	if (s->environ_bytes + bytes > TEXT_BYTES) {
		walk->flags |= IMAGE_ENVIRON_CUT;
		return 1;
	}
	added = append_kernel(s, s->variable, bytes & (2 * ENV_BYTES - 1));
	s->environ_bytes += added;
	return 0;
}

static long on_own_variable(u32 index, struct env_walk *walk)
{
	if (walk->at >= walk->end)
		return 1;
	return take_variable(walk, bpf_probe_read_user_str(walk->scratch->variable, ENV_BYTES, (void *)walk->at), false);
}

/* Gives whether the environment names a task. */
static __always_inline bool append_environ(struct scratch *s, struct mm_struct *mm, u16 *length, u16 *flags)
{
	struct env_walk walk = {};

	walk.scratch = s;
	s->environ_bytes = 0;
	s->inside_variable = 0;
	walk.at = BPF_CORE_READ(mm, env_start);
	walk.end = BPF_CORE_READ(mm, env_end);
	bpf_loop(ENV_STEPS, on_own_variable, &walk, 0);
	if (walk.at < walk.end && !(walk.flags & IMAGE_ENVIRON_UNREADABLE))
		walk.flags |= IMAGE_ENVIRON_CUT;
	*length = s->environ_bytes;
	*flags |= walk.flags;
	return walk.binds;
}

static __always_inline u16 stdio_kind_of(struct task_struct *task, u32 descriptor, u64 *inode_number)
{
	struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
	struct file **slot = BPF_CORE_READ(fdt, fd);
	struct file *file = NULL;
	struct inode *inode;

	if (!slot)
		return STDIO_CLOSED;
	bpf_probe_read_kernel(&file, sizeof(file), slot + descriptor);
	if (!file)
		return STDIO_CLOSED;
	inode = BPF_CORE_READ(file, f_inode);
	*inode_number = BPF_CORE_READ(inode, i_ino);
	switch (BPF_CORE_READ(inode, i_mode) & S_IFMT) {
	case S_IFREG:
		return STDIO_FILE;
	case S_IFIFO:
		return STDIO_PIPE;
	case S_IFSOCK:
		return STDIO_SOCKET;
	case S_IFCHR:
	case S_IFBLK:
		return STDIO_DEVICE;
	}
	return STDIO_OTHER;
}

/* Of a long command line both ends are told, with a mark between them: a JVM says who it is behind its class path. */
#define ARGV_HEAD_BYTES 1024
#define ARGV_TAIL_AT (ARGV_HEAD_BYTES + ARGV_MARK_BYTES + 1)
#define ARGV_TAIL_BYTES (TEXT_BYTES - ARGV_TAIL_AT)

static __always_inline void mark_cut(u8 *room)
{
	room[ARGV_HEAD_BYTES - 1] = 0;
	__builtin_memset(room + ARGV_HEAD_BYTES, 1, ARGV_MARK_BYTES);
	room[ARGV_TAIL_AT - 1] = 0;
}

/* The number the process has in its own pid namespace. */
static __always_inline u32 own_pid(struct task_struct *task, u32 *namespace_inode)
{
	struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);
	u32 level = BPF_CORE_READ(pid, level);
	struct upid upid;

	/* numbers[] ends in a flexible array: step by the kernel's size of one entry */
	bpf_probe_read_kernel(&upid, sizeof(upid),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid));
	if (namespace_inode)
		*namespace_inode = BPF_CORE_READ(upid.ns, ns.inum);
	return upid.nr;
}

static __always_inline struct cgroup_subsys_state *memory_css(struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup_subsys_state *css = NULL;
	u32 index;

	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return NULL;
	index = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
	bpf_probe_read_kernel(&css, sizeof(css), (void *)set + bpf_core_field_offset(struct css_set, subsys) + index * sizeof(css));
	return css;
}

/* Everything but argv and environ, whose way into memory differs. */
static __always_inline void fill_image(struct scratch *s, struct event_exec *e, struct task_struct *task)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct file *executable = BPF_CORE_READ(mm, exe_file);
	struct dentry *dentry = BPF_CORE_READ(executable, f_path.dentry);
	struct cgroup *memory_cgroup = BPF_CORE_READ(memory_css(task), cgroup);
	bool cut = false;
	u32 owner;

	e->process = key_of(task);
	e->parent = parent_of(task);
	e->real_parent = hidden_parent_of(task);
	e->cgroup_id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	e->memory_cgroup_id = BPF_CORE_READ(memory_cgroup, kn, id);
	e->uid = BPF_CORE_READ(task, cred, uid.val);
	e->gid = BPF_CORE_READ(task, cred, gid.val);
	e->pid_namespace_pid = own_pid(task, &e->pid_namespace_inode);
	e->mount_namespace_inode = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	e->network_namespace_inode = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	e->stdin_kind = stdio_kind_of(task, 0, &e->stdin_inode);
	e->stdout_kind = stdio_kind_of(task, 1, &e->stdout_inode);
	e->stderr_kind = stdio_kind_of(task, 2, &e->stderr_inode);
	BPF_CORE_READ_STR_INTO(&e->comm, task, comm);

	if (is_deleted(dentry))
		e->image_flags |= IMAGE_EXECUTABLE_DELETED;
	owner = executable ? owner_of(executable, e->uid) : 0;
	if (owner & OWNED_BY_ROOT)
		e->image_flags |= IMAGE_ROOT_OWNS;
	if (owner & OWNED_BY_USER)
		e->image_flags |= IMAGE_USER_OWNS;
	e->executable = append_path(s, task, BPF_CORE_READ(executable, f_path.mnt), dentry, &cut);
	e->working_directory = append_path(s, task, BPF_CORE_READ(task, fs, pwd.mnt), BPF_CORE_READ(task, fs, pwd.dentry), &cut);
	e->memory_cgroup = append_cgroup(s, memory_cgroup);
	if (cut)
		e->image_flags |= IMAGE_PATH_CUT;
}

#endif
