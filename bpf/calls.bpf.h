/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* System calls by what they do. Handlers get the call's registers and its result, from either kind of hook. */
#ifndef KWITNESS_CALLS_BPF_H
#define KWITNESS_CALLS_BPF_H

#include "path.bpf.h"
#include "watch.bpf.h"

#if defined(__TARGET_ARCH_x86)
#include <asm/unistd_64.h>
#define NUMBER(regs) ((u32)(regs)->orig_ax)
#define ARG1(regs) ((regs)->di)
#define ARG2(regs) ((regs)->si)
#define ARG3(regs) ((regs)->dx)
#define ARG4(regs) ((regs)->r10)
#define ARG5(regs) ((regs)->r8)
#define TS_COMPAT 0x2 /* arch/x86/include/asm/thread_info.h: the call came through the 32-bit entry */
#define is_foreign(task) ((task)->thread_info.status & TS_COMPAT)
#else
#define __ARCH_WANT_RENAMEAT /* arch/arm64/include/uapi/asm/unistd.h */
#define __ARCH_WANT_SYS_CLONE3
#include <asm-generic/unistd.h>
#define NUMBER(regs) ((u32)(regs)->syscallno)
#define ARG1(regs) ((regs)->orig_x0) /* x0 holds the result by now */
#define ARG2(regs) ((regs)->regs[1])
#define ARG3(regs) ((regs)->regs[2])
#define ARG4(regs) ((regs)->regs[3])
#define ARG5(regs) ((regs)->regs[4])
#define TIF_32BIT 22 /* arch/arm64/include/asm/thread_info.h */
#define is_foreign(task) ((task)->thread_info.flags & 1UL << TIF_32BIT)
#endif

#define CALL_NUMBERS 512
#define AT_FDCWD (-100)
#define F_DUPFD 0
#define F_SETLK 6
#define F_OFD_SETLK 37
#define F_DUPFD_CLOEXEC 1030
#define MAP_SHARED 1
#define PROT_WRITE 2
#define CLOSE_RANGE_CLOEXEC 4

enum handler {
	ON_NOTHING,
	ON_OPEN,
	ON_CLOSE,
	ON_READ,
	ON_WRITE,
	ON_READ_VECTOR,
	ON_WRITE_VECTOR,
	ON_SENDFILE,
	ON_COPY_RANGE,
	ON_SYNC,
	ON_RENAME,
	ON_RENAMEAT,
	ON_UNLINK,
	ON_UNLINKAT,
	ON_RMDIR,
	ON_TRUNCATE,
	ON_FTRUNCATE,
	ON_LINK,
	ON_LINKAT,
	ON_SYMLINK,
	ON_SYMLINKAT,
	ON_MKDIR,
	ON_MKDIRAT,
	ON_CHMOD,
	ON_FCHMOD,
	ON_FCHMODAT,
	ON_CHOWN,
	ON_FCHOWN,
	ON_FCHOWNAT,
	ON_MMAP,
	ON_DUP,
	ON_FCNTL,
	ON_CLOSE_RANGE,
	ON_EXEC,
	ON_CLONE,
	ON_LOCK,
	ON_CONNECT,
	ON_ACCEPT,
	ON_BIND,
	ON_SEND,
	ON_RECEIVE,
	ON_DESCRIPTOR,
	ON_MEMORY,
	ON_IO_URING,
	ON_OPENAT,
	ON_EXECAT,
	/* Only their failures are of interest. */
	ON_LISTEN,
	ON_ASK,
	ON_ASKAT,
	ON_ENTER,
	ON_WATCH,
	ON_WATCH_INIT,
};

static const u8 handlers[CALL_NUMBERS] = {
#if defined(__NR_open) /* calls that newer architectures never had */
    [__NR_open] = ON_OPEN,
    [__NR_creat] = ON_OPEN,
    [__NR_rename] = ON_RENAME,
    [__NR_unlink] = ON_UNLINK,
    [__NR_rmdir] = ON_RMDIR,
    [__NR_link] = ON_LINK,
    [__NR_symlink] = ON_SYMLINK,
    [__NR_mkdir] = ON_MKDIR,
    [__NR_chmod] = ON_CHMOD,
    [__NR_chown] = ON_CHOWN,
    [__NR_lchown] = ON_CHOWN,
    [__NR_dup2] = ON_DUP,
    [__NR_fork] = ON_CLONE,
    [__NR_vfork] = ON_CLONE,
    [__NR_pipe] = ON_DESCRIPTOR,
    [__NR_epoll_create] = ON_DESCRIPTOR,
    [__NR_stat] = ON_ASK,
    [__NR_lstat] = ON_ASK,
    [__NR_access] = ON_ASK,
    [__NR_readlink] = ON_ASK,
    [__NR_inotify_init] = ON_WATCH_INIT,
#endif
#if defined(__NR_newfstatat)
    [__NR_newfstatat] = ON_ASKAT,
#endif
    [__NR_openat] = ON_OPENAT,
    [__NR_openat2] = ON_OPENAT,
    [__NR_close] = ON_CLOSE,
    [__NR_read] = ON_READ,
    [__NR_pread64] = ON_READ,
    [__NR_readv] = ON_READ_VECTOR,
    [__NR_preadv] = ON_READ_VECTOR,
    [__NR_preadv2] = ON_READ_VECTOR,
    [__NR_write] = ON_WRITE,
    [__NR_pwrite64] = ON_WRITE,
    [__NR_writev] = ON_WRITE_VECTOR,
    [__NR_pwritev] = ON_WRITE_VECTOR,
    [__NR_pwritev2] = ON_WRITE_VECTOR,
    [__NR_sendfile] = ON_SENDFILE,
    [__NR_copy_file_range] = ON_COPY_RANGE,
    [__NR_splice] = ON_COPY_RANGE,
    [__NR_fsync] = ON_SYNC,
    [__NR_fdatasync] = ON_SYNC,
    [__NR_sync_file_range] = ON_SYNC,
    [__NR_renameat] = ON_RENAMEAT,
    [__NR_renameat2] = ON_RENAMEAT,
    [__NR_unlinkat] = ON_UNLINKAT,
    [__NR_truncate] = ON_TRUNCATE,
    [__NR_ftruncate] = ON_FTRUNCATE,
    [__NR_linkat] = ON_LINKAT,
    [__NR_symlinkat] = ON_SYMLINKAT,
    [__NR_mkdirat] = ON_MKDIRAT,
    [__NR_fchmod] = ON_FCHMOD,
    [__NR_fchmodat] = ON_FCHMODAT,
    [__NR_fchown] = ON_FCHOWN,
    [__NR_fchownat] = ON_FCHOWNAT,
    [__NR_mmap] = ON_MMAP,
    [__NR_dup] = ON_DUP,
    [__NR_dup3] = ON_DUP,
    [__NR_fcntl] = ON_FCNTL,
    [__NR_close_range] = ON_CLOSE_RANGE,
    [__NR_execve] = ON_EXEC,
    [__NR_execveat] = ON_EXECAT,
    [__NR_clone] = ON_CLONE,
    [__NR_clone3] = ON_CLONE,
    [__NR_flock] = ON_LOCK,
    [__NR_connect] = ON_CONNECT,
    [__NR_accept] = ON_ACCEPT,
    [__NR_accept4] = ON_ACCEPT,
    [__NR_bind] = ON_BIND,
    [__NR_sendto] = ON_SEND,
    [__NR_sendmsg] = ON_SEND,
    [__NR_sendmmsg] = ON_SEND,
    [__NR_recvfrom] = ON_RECEIVE,
    [__NR_recvmsg] = ON_RECEIVE,
    [__NR_recvmmsg] = ON_RECEIVE,
    [__NR_pipe2] = ON_DESCRIPTOR,
    [__NR_socket] = ON_DESCRIPTOR,
    [__NR_socketpair] = ON_DESCRIPTOR,
    [__NR_epoll_create1] = ON_DESCRIPTOR,
    [__NR_eventfd2] = ON_DESCRIPTOR,
    [__NR_mremap] = ON_MEMORY,
    [__NR_io_uring_enter] = ON_IO_URING,
    [__NR_listen] = ON_LISTEN,
    [__NR_statx] = ON_ASKAT,
    [__NR_faccessat] = ON_ASKAT,
    [__NR_faccessat2] = ON_ASKAT,
    [__NR_readlinkat] = ON_ASKAT,
    [__NR_chdir] = ON_ENTER,
    [__NR_chroot] = ON_ENTER,
    [__NR_inotify_add_watch] = ON_WATCH,
    [__NR_inotify_init1] = ON_WATCH_INIT,
};

static __always_inline struct file *file_of(struct task_struct *task, u32 descriptor)
{
	struct files_struct *files = task->files;
	struct fdtable *table;
	struct file *file = NULL;
	struct file **slots;

	if (!files)
		return NULL;
	table = files->fdt;
	if (!table || descriptor >= table->max_fds)
		return NULL;
	slots = table->fd;
	bpf_probe_read_kernel(&file, sizeof(file), slots + descriptor);
	return file;
}

/* Appends the directory that a relative path argument starts from; nothing for an absolute one. */
static __always_inline u16 append_directory(struct scratch *s, struct task_struct *task, int descriptor, const void *argument)
{
	struct dentry *dentry;
	struct vfsmount *mnt;
	struct file *file;
	bool cut = false;
	char first = 0;

	bpf_probe_read_user(&first, 1, argument);
	if (first == '/')
		return 0;
	if (descriptor == AT_FDCWD) {
		dentry = BPF_CORE_READ(task, fs, pwd.dentry);
		mnt = BPF_CORE_READ(task, fs, pwd.mnt);
	} else {
		file = file_of(task, descriptor);
		if (!file)
			return 0;
		dentry = BPF_CORE_READ(file, f_path.dentry);
		mnt = BPF_CORE_READ(file, f_path.mnt);
	}
	return append_path(s, task, mnt, dentry, &cut);
}

#endif
