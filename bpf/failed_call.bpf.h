/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a failed call was about: its path, address or descriptor. Included by errors.bpf.h alone, at the place where it is used. */
#ifndef KWITNESS_FAILED_CALL_BPF_H
#define KWITNESS_FAILED_CALL_BPF_H

/* Which failures are facts about the world, and not the ordinary way of asking a question. */
__weak __noinline int failure_matters(u32 call, u32 error)
{
	if (call == CALL_ASK || call == CALL_ENTER)
		return 0;
	switch (error) {
	case ENOSPC:
	case EDQUOT:
	case EIO:
	case EROFS:
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
		return 1;
	case ENOMEM:
		return call != CALL_OTHER;
	case EACCES:
	case EPERM:
		return call == CALL_OPEN || call == CALL_CHANGE || call == CALL_EXEC || call == CALL_WRITE || call == CALL_BIND ||
		       call == CALL_CONNECT;
	case ENOENT:
	case ENOEXEC:
	case E2BIG:
	case ENOTDIR:
	case ELOOP:
	case ENAMETOOLONG:
	case ELIBBAD:
		return call == CALL_EXEC;
	case ETXTBSY:
		return call == CALL_OPEN || call == CALL_WRITE || call == CALL_CHANGE || call == CALL_EXEC;
	case EFBIG:
		return call == CALL_OPEN || call == CALL_WRITE || call == CALL_CHANGE;
	case EBUSY:
		return call == CALL_CHANGE;
	case EAGAIN:
		return call == CALL_CLONE || call == CALL_LOCK || call == CALL_EXEC;
	case EADDRNOTAVAIL:
	case EADDRINUSE:
	case ENETUNREACH:
	case EHOSTUNREACH:
		return call == CALL_CONNECT || call == CALL_BIND || call == CALL_WRITE || call == CALL_LISTEN;
	case ECONNREFUSED:
	case ECONNRESET:
	case ETIMEDOUT:
		return call == CALL_CONNECT || call == CALL_READ || call == CALL_WRITE;
	case EPIPE:
		return call == CALL_WRITE;
	}
	return 0;
}

/* The path of an open file, or the peer of a socket. */
static __always_inline void fill_descriptor(struct scratch *s, struct event_call_failed *e, struct task_struct *task,
					    u32 descriptor)
{
	struct file *file = file_of(task, descriptor);
	bool cut = false;
	u16 kind;

	if (!file)
		return;
	kind = BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT;
	if (kind == S_IFREG) {
		e->subject = SUBJECT_FILE;
		e->path = append_path(s, task, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), &cut);
	} else if (kind == S_IFSOCK) {
		struct socket *socket = BPF_CORE_READ(file, private_data);

		fill_peer(BPF_CORE_READ(socket, sk), &e->family, &e->port, &e->address_high, &e->address_low);
		if (e->family)
			e->subject = SUBJECT_ENDPOINT;
	}
}

/* What connect(2) and bind(2) were asked for. */
static __always_inline void fill_address(struct event_call_failed *e, const void *address)
{
	struct {
		u16 family;
		u16 port;
		u32 flow_or_v4;
		u64 v6[2];
	} asked = {};

	if (bpf_probe_read_user(&asked, sizeof(asked), address) && bpf_probe_read_user(&asked, 8, address))
		return;
	if (asked.family != AF_INET && asked.family != AF_INET6)
		return;
	e->subject = SUBJECT_ENDPOINT;
	e->family = asked.family;
	e->port = bpf_ntohs(asked.port);
	if (asked.family == AF_INET) {
		e->address_low = asked.flow_or_v4;
	} else {
		e->address_high = asked.v6[0];
		e->address_low = asked.v6[1];
	}
}

/* The address that a socket is bound to. */
static __always_inline void fill_local(struct event_call_failed *e, struct task_struct *task, u32 descriptor)
{
	struct file *file = file_of(task, descriptor);
	struct socket *socket;
	struct sock *sk;
	u16 family;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (family != AF_INET && family != AF_INET6)
		return;
	e->subject = SUBJECT_ENDPOINT;
	e->family = family;
	e->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (family == AF_INET)
		e->address_low = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	else
		bpf_probe_read_kernel(&e->address_high, 16,
				      (void *)sk + bpf_core_field_offset(struct sock, __sk_common.skc_v6_rcv_saddr));
}

static __always_inline bool is_unix_path(const void *address)
{
	struct {
		u16 family;
		char first; /* NUL: an abstract name, which no file stands for */
	} asked = {};

	return !bpf_probe_read_user(&asked, 3, address) && asked.family == AF_UNIX && asked.first;
}

/* Fills the event_call_failed that a scratch has, for the current task. Global: see share.bpf.h. */
__weak __noinline int fill_object(u32 slot, u32 handler, u64 first, u64 second)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct scratch *s = scratch_at(slot);
	struct event_call_failed *e;
	int directory = AT_FDCWD;
	u64 path = first;

	if (!s)
		return 0;
	e = (void *)s->record;
	switch (handler) {
	case ON_OPENAT:
	case ON_EXECAT:
	case ON_RENAMEAT:
	case ON_UNLINKAT:
	case ON_LINKAT:
	case ON_MKDIRAT:
	case ON_FCHMODAT:
	case ON_FCHOWNAT:
	case ON_ASKAT:
	case ON_SYMLINKAT:
		directory = (int)first;
		path = second;
		break;
	case ON_WATCH:
		path = second;
		break;
	case ON_OPEN:
	case ON_EXEC:
	case ON_RENAME:
	case ON_UNLINK:
	case ON_RMDIR:
	case ON_TRUNCATE:
	case ON_LINK:
	case ON_SYMLINK:
	case ON_MKDIR:
	case ON_CHMOD:
	case ON_CHOWN:
	case ON_ASK:
	case ON_ENTER:
		break;
	case ON_LISTEN:
		fill_local(e, task, first);
		return 0;
	case ON_WATCH_INIT:
		return 0;
	case ON_CONNECT:
	case ON_BIND:
		fill_address(e, (void *)second);
		if (e->subject == SUBJECT_ENDPOINT || !is_unix_path((void *)second))
			return 0;
		path = second + 2; /* sun_path */
		break;
	case ON_CLONE:
	case ON_DESCRIPTOR:
	case ON_MEMORY:
	case ON_MMAP:
	case ON_NOTHING:
	case ON_CLOSE:
		return 0;
	default:
		fill_descriptor(s, e, task, first);
		return 0;
	}
	e->subject = SUBJECT_PATH_ASKED;
	e->directory = append_directory(s, task, directory, (void *)path);
	e->path = append_user_string(s, (void *)path, TEXT_BYTES);
	return 0;
}

static __always_inline void fill_failure(struct event_call_failed *e, struct watched *sums, struct failure *f, u32 tgid)
{
	e->process.tgid = tgid;
	e->process.start_boottime_ns = sums->start_boottime_ns;
	e->call_number = f->number;
	e->error = f->error;
	if (f->number < CALL_NUMBERS)
		e->call = kind_of(handlers[f->number]);
	e->failures = f->failures;
	e->first_boottime_ns = f->first_ns;
	e->last_boottime_ns = f->last_ns;
}

#endif
