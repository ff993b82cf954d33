/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a thread that is in a system call waits for. */
#ifndef KWITNESS_WAITED_BPF_H
#define KWITNESS_WAITED_BPF_H

#include "calls.bpf.h"
#include "kernel_net.h"
#include "module.bpf.h"

#define STATE_RUNNING 0
#define STATE_UNINTERRUPTIBLE 2

struct waited {
	u64 inode; /* of the pipe, socket or file; of what is mapped at a lock in shared memory */
	u64 high;  /* of a socket's peer */
	u64 low;   /* the same; of a lock in shared memory its place in what is mapped there */
	u16 object;
	u16 family;
	u16 port;
};

static __always_inline bool waits_at_descriptor(u32 handler)
{
	return (handler >= ON_READ && handler <= ON_SYNC) || handler == ON_SEND || handler == ON_RECEIVE || handler == ON_CONNECT ||
	       handler == ON_ACCEPT || handler == ON_LOCK || handler == ON_FCNTL;
}

static __always_inline void fill_waited_file(struct waited *waited, struct file *file)
{
	struct inode *inode;
	struct socket *socket;

	if (!file)
		return;
	inode = BPF_CORE_READ(file, f_inode);
	waited->inode = BPF_CORE_READ(inode, i_ino);
	switch (BPF_CORE_READ(inode, i_mode) & S_IFMT) {
	case S_IFIFO:
		waited->object = WAIT_PIPE;
		break;
	case S_IFSOCK:
		waited->object = WAIT_SOCKET;
		socket = BPF_CORE_READ(file, private_data);
		fill_peer(BPF_CORE_READ(socket, sk), &waited->family, &waited->port, &waited->high, &waited->low);
		break;
	case S_IFREG:
		waited->object = WAIT_FILE;
		break;
	default:
		waited->object = WAIT_OTHER;
	}
}

/* Which lock it is, where processes share it: the same one has the same inode and place in each of them. */
static __always_inline void fill_waited_lock(struct waited *waited, struct task_struct *task, u64 address)
{
	struct vm_area_struct *area;
	struct file *file;
	bool changed;

	area = area_at(BPF_CORE_READ(task, mm), address, &changed);
	file = area ? BPF_CORE_READ(area, vm_file) : NULL;
	if (!file || !(BPF_CORE_READ(area, vm_flags) & VM_SHARED))
		return;
	waited->inode = BPF_CORE_READ(file, f_inode, i_ino);
	waited->low = address - BPF_CORE_READ(area, vm_start) + BPF_CORE_READ(area, vm_pgoff) * page_bytes;
}

#endif
