/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is noted of a system call that ended, by its handler. Included by calls.bpf.c alone, at the place where it is used. */
#ifndef KWITNESS_CALL_HANDLERS_BPF_H
#define KWITNESS_CALL_HANDLERS_BPF_H

static __always_inline void on_file_call(struct pt_regs *regs, struct task_struct *task, u32 tgid, u32 handler, long result)
{
	u64 peer;

	switch (handler) {
	case ON_OPEN:
	case ON_OPENAT:
		track(result, 0);
		break;
	case ON_CLOSE:
		close_descriptor(ARG1(regs), 0);
		break;
	case ON_SENDFILE:
		note_write(task, tgid, ARG1(regs), result, 0);
		note_read(task, tgid, ARG2(regs), result);
		break;
	case ON_COPY_RANGE:
		note_read(task, tgid, ARG1(regs), result);
		note_write(task, tgid, ARG3(regs), result, 0);
		break;
	case ON_SYNC:
		mark_file(task, tgid, ARG1(regs), CLOSED_SYNCED);
		break;
	case ON_MMAP:
		if ((int)ARG5(regs) < 0)
			break;
		mark_file(task, tgid, ARG5(regs),
			  CLOSED_MAPPED | ((ARG3(regs) & PROT_WRITE) && (ARG4(regs) & MAP_SHARED) ? CLOSED_MAPPED_WRITABLE : 0));
		break;
	case ON_DUP:
		duplicated(task, tgid, ARG1(regs), result);
		break;
	case ON_FCNTL:
		if (ARG2(regs) == F_DUPFD || ARG2(regs) == F_DUPFD_CLOEXEC)
			duplicated(task, tgid, ARG1(regs), result);
		break;
	case ON_CLOSE_RANGE:
		if (!(ARG3(regs) & CLOSE_RANGE_CLOEXEC))
			close_old_descriptors(task, tgid, false);
		break;
	case ON_CONNECT:
		on_connected(tgid, ARG1(regs));
		break;
	case ON_SEND:
	case ON_RECEIVE:
		peer = name_server(task, tgid, ARG1(regs));
		if (peer)
			on_datagrams(NUMBER(regs), ARG2(regs), result, peer);
		break;
	case ON_IO_URING:
		note_io_uring(task, tgid, result);
		break;
	case ON_EXEC:
	case ON_EXECAT:
		close_old_descriptors(task, tgid, false);
		forget_exec_failures(tgid);
		forget_failures(tgid);
		break;
	}
}

#define DIRECTORIES(first, second) ((u64)(u32)(first) << 32 | (u32)(second))
#define HERE DIRECTORIES(AT_FDCWD, AT_FDCWD)

static __always_inline void on_name_call(struct pt_regs *regs, struct task_struct *task, u32 tgid, u32 handler)
{
	switch (handler) {
	case ON_RENAME:
		change_names(OPERATION_RENAME, ARG1(regs), ARG2(regs), HERE);
		break;
	case ON_RENAMEAT:
		change_names(OPERATION_RENAME, ARG2(regs), ARG4(regs), DIRECTORIES(ARG1(regs), ARG3(regs)));
		break;
	case ON_UNLINK:
		change_names(OPERATION_UNLINK, ARG1(regs), 0, HERE);
		break;
	case ON_UNLINKAT:
		change_names(ARG3(regs) ? OPERATION_RMDIR : OPERATION_UNLINK, ARG2(regs), 0, DIRECTORIES(ARG1(regs), 0));
		break;
	case ON_RMDIR:
		change_names(OPERATION_RMDIR, ARG1(regs), 0, HERE);
		break;
	case ON_LINK:
		change_names(OPERATION_LINK, ARG1(regs), ARG2(regs), HERE);
		break;
	case ON_LINKAT:
		change_names(OPERATION_LINK, ARG2(regs), ARG4(regs), DIRECTORIES(ARG1(regs), ARG3(regs)));
		break;
	case ON_SYMLINK:
		change_names(OPERATION_SYMLINK, ARG1(regs), ARG2(regs), HERE);
		break;
	case ON_SYMLINKAT:
		change_names(OPERATION_SYMLINK, ARG1(regs), ARG3(regs), DIRECTORIES(AT_FDCWD, ARG2(regs)));
		break;
	case ON_MKDIR:
		change_names(OPERATION_MKDIR, ARG1(regs), 0, HERE);
		break;
	case ON_MKDIRAT:
		change_names(OPERATION_MKDIR, ARG2(regs), 0, DIRECTORIES(ARG1(regs), 0));
		break;
	case ON_TRUNCATE:
		change_value(OPERATION_TRUNCATE, AT_FDCWD, ARG1(regs), ARG2(regs));
		break;
	case ON_CHMOD:
		change_value(OPERATION_CHMOD, AT_FDCWD, ARG1(regs), ARG2(regs));
		break;
	case ON_FCHMODAT:
		change_value(OPERATION_CHMOD, ARG1(regs), ARG2(regs), ARG3(regs));
		break;
	case ON_CHOWN:
		change_value(OPERATION_CHOWN, AT_FDCWD, ARG1(regs), ARG2(regs));
		break;
	case ON_FCHOWNAT:
		change_value(OPERATION_CHOWN, ARG1(regs), ARG2(regs), ARG3(regs));
		break;
	case ON_FTRUNCATE:
		mark_file(task, tgid, ARG1(regs), CLOSED_TRUNCATED);
		change_open_file(OPERATION_TRUNCATE, ARG1(regs), ARG2(regs));
		break;
	case ON_FCHMOD:
		change_open_file(OPERATION_CHMOD, ARG1(regs), ARG2(regs));
		break;
	case ON_FCHOWN:
		change_open_file(OPERATION_CHOWN, ARG1(regs), ARG2(regs));
		break;
	}
}

/* The port that bind(2) or listen(2) was refused; 0: it was about no port. */
static __always_inline u32 refused_port(struct pt_regs *regs, struct task_struct *task, u32 handler)
{
	struct {
		u16 family;
		u16 port;
	} asked = {};
	struct socket *socket;
	struct file *file;

	if (handler == ON_BIND) {
		bpf_probe_read_user(&asked, sizeof(asked), (void *)ARG2(regs));
		return asked.family == AF_INET || asked.family == AF_INET6 ? bpf_ntohs(asked.port) : 0;
	}
	file = handler == ON_LISTEN ? file_of(task, ARG1(regs)) : NULL;
	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk, __sk_common.skc_num);
}

/* Who has what was refused, for the errors that say that somebody has it. The stack is short here: before 6.18 the verifier adds up
 * the frames of all calls. */
static __always_inline void find_holder(struct pt_regs *regs, struct task_struct *task, u32 tgid, u32 handler, u32 error)
{
	struct watched *sums;
	u32 port;

	if (error != ETXTBSY && error != EADDRINUSE)
		return;
	sums = sums_of(tgid, task, EVENT_HOLDER);
	if (!sums || !may_look(sums))
		return;
	if (error == ETXTBSY && (handler == ON_EXEC || handler == ON_EXECAT)) {
		find_text_holder(handler == ON_EXEC ? ARG1(regs) : ARG2(regs));
		return;
	}
	port = error == EADDRINUSE ? refused_port(regs, task, handler) : 0;
	if (port)
		find_port_holder(port);
}

/* The two arguments that say what a call was about: of a call with two paths, the one that the error is about. */
static __always_inline void object_arguments(struct pt_regs *regs, u32 handler, u32 error, u64 *first, u64 *second)
{
	bool about_new = error == EEXIST || error == ENOTEMPTY || error == EISDIR;

	*first = ARG1(regs);
	*second = ARG2(regs);
	if (handler == ON_SYMLINK || (about_new && (handler == ON_LINK || handler == ON_RENAME))) {
		*first = ARG2(regs);
	} else if (handler == ON_SYMLINKAT) {
		*first = ARG2(regs);
		*second = ARG3(regs);
	} else if (about_new && (handler == ON_LINKAT || handler == ON_RENAMEAT)) {
		*first = ARG3(regs);
		*second = ARG4(regs);
	}
}

static __always_inline void on_failed_call(struct pt_regs *regs, struct task_struct *task, u32 tgid, u32 number, u32 handler,
					   u32 error)
{
	u64 first, second;

	if (handler == ON_FCNTL && ARG2(regs) != F_SETLK && ARG2(regs) != F_OFD_SETLK && ARG2(regs) != F_DUPFD &&
	    ARG2(regs) != F_DUPFD_CLOEXEC)
		return;
	object_arguments(regs, handler, error, &first, &second);
	remember_failure(number << 8 | handler, error, first, second);
	/* the failures that are everyday answers leave here: ENOENT of an open, EAGAIN of a read, EINTR */
	if (error == ENOENT && handler != ON_EXEC && handler != ON_EXECAT)
		return;
	if (error == EAGAIN && handler != ON_CLONE && handler != ON_FCNTL && handler != ON_LOCK && handler != ON_EXEC &&
	    handler != ON_EXECAT)
		return;
	find_holder(regs, task, tgid, handler, error);
	if (handler == ON_WRITE || handler == ON_WRITE_VECTOR || handler == ON_SYNC)
		note_write_error(task, tgid, ARG1(regs), error);
	if (handler == ON_MMAP || handler == ON_MEMORY)
		tell_refused_memory(regs, number, error);
	on_failure(number << 8 | handler, error, first, second);
}

#endif
