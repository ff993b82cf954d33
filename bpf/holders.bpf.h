/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who has what a process was refused or waits for, looked up at that moment: an open file may have gone on to a child, and who
 * asked for a lock may have ended long ago. A walk over all processes and their descriptors, so it is made seldom. */
#ifndef KWITNESS_HOLDERS_BPF_H
#define KWITNESS_HOLDERS_BPF_H

#include "calls.bpf.h"
#include "kernel_net.h"

#define PROCESSES_LOOKED_AT 8192
#define DESCRIPTORS_LOOKED_AT 512	/* of each process */
#define ALL_DESCRIPTORS_LOOKED_AT 65536 /* some 2 ms */
#define HOLDERS_TOLD 4
#define HOLDERS_INTERVAL_NS ((u64)SECOND / 10) /* of one process */
#define LOCK_INTERVAL_NS ((u64)SECOND)
#define TCP_LISTEN 10 /* include/net/tcp_states.h */

static __always_inline void read_name(struct name_pieces *pieces, const void *name, u32 length)
{
	__builtin_memset(pieces, 0, sizeof(*pieces));
	pieces->length = length;
	if (length >= NAME_PIECE) {
		bpf_probe_read_kernel(pieces->head, NAME_PIECE, name);
		bpf_probe_read_kernel(pieces->tail, NAME_PIECE, name + length - NAME_PIECE);
	} else {
		barrier_var(length); /* or the compiler drops the mask, which older verifiers need */
		bpf_probe_read_kernel(pieces->head, length & (NAME_PIECE - 1), name);
	}
}

static __always_inline bool has_name(struct file *file, struct name_pieces *asked)
{
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct name_pieces own;

	if (BPF_CORE_READ(dentry, d_name.len) != asked->length)
		return false;
	read_name(&own, BPF_CORE_READ(dentry, d_name.name), asked->length);
	return own.head[0] == asked->head[0] && own.head[1] == asked->head[1] && own.tail[0] == asked->tail[0] &&
	       own.tail[1] == asked->tail[1];
}

static __always_inline bool is_bound_to(struct file *file, struct holder_walk *walk)
{
	struct socket *socket;
	struct sock *sk;
	u16 family;

	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return false;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	return (family == AF_INET || family == AF_INET6) && BPF_CORE_READ(sk, __sk_common.skc_num) == walk->port &&
	       !BPF_CORE_READ(sk, __sk_common.skc_dport) && (u64)BPF_CORE_READ(sk, __sk_common.skc_net.net) == walk->what;
}

struct holder_search {
	struct scratch *scratch; /* the state of the walk is there, and not on the stack: see struct scratch */
};

static long on_held_descriptor(u32 descriptor, struct holder_search *search)
{
	struct holder_walk *walk = &search->scratch->walk;
	struct file *file = NULL;
	bool has = false;
	u32 mode;

	if (descriptor >= walk->max_fds)
		return 1;
	if (!walk->left) {
		walk->flags |= HOLDER_CUT;
		return 1;
	}
	walk->left--;
	bpf_probe_read_kernel(&file, sizeof(file), (struct file **)walk->slots + descriptor);
	if (!file)
		return 0;
	switch (walk->object) {
	case HELD_LOCK:
		has = (u64)file == walk->what;
		break;
	case HELD_PIPE_WRITE:
	case HELD_PIPE_READ:
		mode = walk->object == HELD_PIPE_WRITE ? FMODE_WRITE : FMODE_READ;
		has = (u64)BPF_CORE_READ(file, f_inode) == walk->what && (BPF_CORE_READ(file, f_mode) & mode);
		break;
	case HELD_TEXT:
		has = BPF_CORE_READ(file, f_mode) & FMODE_WRITE && (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) == S_IFREG &&
		      has_name((void *)file, &walk->name);
		break;
	case HELD_PORT:
		has = is_bound_to(file, walk);
		break;
	}
	if (!has)
		return 0;
	walk->file = (u64)file;
	walk->descriptor = descriptor;
	return 1;
}

static __always_inline void tell_holder(struct scratch *s, struct task_struct *task)
{
	struct holder_walk *walk = &s->walk;
	struct task_struct *asker = (void *)walk->asker;
	struct file *file = (void *)walk->file;
	struct event_holder *e;
	bool cut = false;

	count_seen(EVENT_HOLDER);
	if (walk->found > HOLDERS_TOLD) {
		count_filtered(EVENT_HOLDER, FILTER_LIMIT);
		return;
	}
	e = begin_record(s, struct event_holder, EVENT_HOLDER);
	e->process = key_of(asker);
	e->holder = key_of(task);
	e->held = walk->object;
	e->port = walk->port;
	e->descriptor = walk->descriptor;
	e->holders = walk->found;
	e->holder_flags = walk->flags;
	if (e->holder.tgid == walk->taken_by)
		e->holder_flags |= HOLDER_TOOK_IT;
	BPF_CORE_READ_STR_INTO(&e->comm, task, comm);
	e->inode = BPF_CORE_READ(file, f_inode, i_ino);
	e->device = BPF_CORE_READ(file, f_inode, i_sb, s_dev);
	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) == S_IFREG)
		e->path = append_path(s, asker, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), &cut);
	submit_record(s, RING_BULK, asker, EVENT_HOLDER, false);
}

static long on_process(u32 index, struct holder_search *search)
{
	struct scratch *s = search->scratch;
	struct holder_walk *walk = &s->walk;
	struct task_struct *task = (void *)walk->at;
	struct list_head *next = BPF_CORE_READ(task, tasks.next);
	struct fdtable *table;
	u32 tgid;

	walk->at = (u64)next - bpf_core_field_offset(struct task_struct, tasks);
	if (!next || walk->at == walk->first)
		walk->done = 1;
	tgid = BPF_CORE_READ(task, tgid);
	if (!(BPF_CORE_READ(task, flags) & PF_KTHREAD) && !is_self(tgid)) {
		table = BPF_CORE_READ(task, files, fdt);
		walk->slots = (u64)BPF_CORE_READ(table, fd);
		walk->max_fds = BPF_CORE_READ(table, max_fds);
		walk->file = 0;
		if (walk->max_fds > DESCRIPTORS_LOOKED_AT)
			walk->flags |= HOLDER_CUT;
		bpf_loop(DESCRIPTORS_LOOKED_AT, on_held_descriptor, search, 0);
		if (walk->file) {
			walk->found++;
			if (!walk->holder || tgid == walk->taken_by)
				walk->holder = tgid;
			tell_holder(s, task);
		}
	}
	return walk->done ? 1 : 0;
}

/* Whether the user of a task may cause another walk: whoever forks is not limited by what one process may cause. A refusal is
 * counted. Takes a struct cred * and a struct css_set *. Global: see share.bpf.h. */
__weak __noinline int may_search(u64 credentials, u64 groups)
{
	u64 user = user_of(credentials, groups);

	if (!share_used_up(user, SHARE_HOLDER_LOOKS, SECOND_NS / HOLDER_LOOKS_PER_SECOND,
			   SECOND_NS / HOLDER_LOOKS_PER_SECOND * HOLDER_LOOKS_AT_ONCE))
		return 1;
	count_seen(EVENT_HOLDER);
	count_lost_of(user, EVENT_HOLDER, LOSS_RATE_LIMIT);
	return 0;
}

/* Room for a walk; to be given back. */
static __always_inline struct scratch *begin_search(struct task_struct *asker, u32 object)
{
	struct scratch *s;

	if (!may_search((u64)BPF_CORE_READ(asker, cred), (u64)BPF_CORE_READ(asker, cgroups)))
		return NULL;
	s = take_scratch(CALL_SCRATCHES);
	if (!s) {
		count_nested(EVENT_HOLDER);
		return NULL;
	}
	__builtin_memset(&s->walk, 0, sizeof(s->walk));
	s->walk.asker = (u64)asker;
	s->walk.object = object;
	return s;
}

/* Looks for all holders, and begins with the process that asks. Gives the first one; of a lock, who asked for it if it still has it. */
static __always_inline u32 search_holders(struct scratch *s)
{
	struct task_struct *asker = (void *)s->walk.asker;
	struct holder_search search = {s};
	u32 holder;

	s->walk.first = s->walk.at = (u64)BPF_CORE_READ(asker, group_leader);
	s->walk.left = ALL_DESCRIPTORS_LOOKED_AT;
	bpf_loop(PROCESSES_LOOKED_AT, on_process, &search, 0);
	holder = s->walk.holder;
	give_back(s);
	return holder;
}

/* Whether this process has not been looked for just now. */
static __always_inline bool may_look(struct watched *sums)
{
	u64 now = bpf_ktime_get_boot_ns();

	if (now - sums->holders_looked_ns < HOLDERS_INTERVAL_NS)
		return false;
	sums->holders_looked_ns = now;
	return true;
}

/* Of a lock that was refused to the current process. 0: nobody has that open file any more, or it was not looked for. */
__weak __noinline int find_lock_holder(u64 file, u32 taken_by)
{
	struct scratch *s = begin_search(bpf_get_current_task_btf(), HELD_LOCK);

	if (!s)
		return 0;
	s->walk.what = file;
	s->walk.taken_by = taken_by;
	return search_holders(s);
}

/* Of the port that bind(2) or listen(2) was refused. */
__weak __noinline int find_port_holder(u32 port)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct scratch *s = begin_search(task, HELD_PORT);

	if (!s)
		return 0;
	s->walk.port = port;
	s->walk.what = (u64)BPF_CORE_READ(task, nsproxy, net_ns);
	return search_holders(s);
}

/* Of one end of a pipe whose other end `task` waits at. */
__weak __noinline int find_pipe_holder(u64 task, u64 inode, u32 object)
{
	struct scratch *s = begin_search((void *)task, object);

	if (!s)
		return 0;
	s->walk.what = inode;
	return search_holders(s);
}

#define OWN_DESCRIPTORS_LOOKED_AT 256

#include "writers.bpf.h"

/* Of a file that was to be executed and is open for writing. By its name: the kernel refused to open it for us, so there is no
 * file at hand. The record has the whole path. */
__weak __noinline int find_text_holder(u64 path)
{
	struct scratch *s = begin_search(bpf_get_current_task_btf(), HELD_TEXT);
	struct name_search search = {};
	long bytes;

	if (!s)
		return 0;
	bytes = bpf_probe_read_user_str(s->record, TEXT_BYTES, (void *)path);
	if (bytes <= 1) {
		give_back(s);
		return 0;
	}
	search.scratch = s;
	search.length = bytes - 1;
	bpf_loop(TEXT_BYTES, on_path_byte, &search, 0);
	read_name(&s->walk.name, s->record + (search.begin & (TEXT_BYTES - 1)), search.length - search.begin);
	return search_holders(s);
}

#endif
