/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files of watched processes: opened, read, written, closed, renamed. Sums are kept per open file and leave as one record at
 * the close; interpreter and system files are only counted. */
#ifndef KWITNESS_FILE_BPF_H
#define KWITNESS_FILE_BPF_H

#include "kernel_net.h"
#include "noise.bpf.h"
#include "owner.bpf.h"

/* Set by user space before load. */
const volatile u32 files_per_process __weak = NAMED_FILES;

#define DESCRIPTOR_LIMIT (1 << 20) /* at an exec, close_range(2) and the end */
#define DESCRIPTORS_PER_CLOSE 4096 /* looked at for another one of the same file */
#define FILES_WINDOW_NS (10 * SECOND_NS)

static __always_inline void read_size(struct tracked_file *t, u64 *size, u32 *flags)
{
	struct inode *inode = (void *)t->inode;

	/* a close that was the last one may have freed the file, and later the inode; what is there then is another one */
	if (BPF_CORE_READ(inode, i_ino) != t->inode_number || BPF_CORE_READ(inode, i_sb, s_dev) != t->device ||
	    BPF_CORE_READ(inode, i_generation) != t->generation) {
		*flags |= CLOSED_SIZE_UNKNOWN;
		return;
	}
	*size = BPF_CORE_READ(inode, i_size);
	if (!BPF_CORE_READ(inode, i_nlink))
		*flags |= CLOSED_DELETED;
}

/* The end of one opening: its record if it has a name, else its bytes into the process's sums. The entry goes. */
static __noinline void finish_file(struct file_key *key, struct tracked_file *t, struct watched *sums, u32 flags)
{
	struct event_file_closed *e;

	if (!t || !sums || !key)
		return;
	__sync_fetch_and_sub(&sums->files_tracked, 1);
	if (t->state == TRACK_NOISE) {
		__sync_fetch_and_add(&sums->noise_read_bytes, t->read_bytes);
	} else if (t->state == TRACK_UNNAMED) {
		__sync_fetch_and_add(&sums->unnamed_read_bytes, t->read_bytes);
		__sync_fetch_and_add(&sums->unnamed_written_bytes, t->written_bytes);
	} else if (t->state == TRACK_REPORTED && !((flags & CLOSED_SHARED) && !t->last_use_tick)) {
		/* (a shell's redirection closes the descriptor it has just duplicated: nothing was done through it) */
		count_seen(EVENT_FILE_CLOSED);
		e = reserve_record(RING_BULK, bpf_get_current_task_btf(), sizeof(*e), EVENT_FILE_CLOSED);
		if (e) {
			stamp(&e->header, sizeof(*e), EVENT_FILE_CLOSED);
			e->process.tgid = key->tgid;
			e->process.start_boottime_ns = sums->start_boottime_ns;
			e->open_id = t->open_id;
			e->inode = t->inode_number;
			e->device = t->device;
			e->open_flags = t->open_flags;
			e->read_bytes = t->read_bytes;
			e->read_calls = t->read_calls;
			e->written_bytes = t->written_bytes;
			e->write_calls = t->write_calls;
			e->last_use_boottime_ns = t->last_use_ns;
			e->write_error = t->write_error;
			flags |= t->closed_flags;
			read_size(t, &e->size_bytes, &flags);
			e->closed_flags = flags;
			bpf_ringbuf_submit(e, wakeup_of(RING_BULK, false));
			count_submitted(EVENT_FILE_CLOSED);
		}
	}
	bpf_map_delete_elem(&tracked_files, key);
}

/* Whether it is reported by name; the record then stands in the scratch, its path behind it. */
static __always_inline u32 describe(struct scratch *s, struct task_struct *task, u32 descriptor, u32 opened_flags,
				    struct file *file, struct inode *inode, struct watched *sums, bool writing)
{
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct tracked_file *t = &s->fresh;
	struct file_identity identity = {};
	struct event_file_opened *e;
	u32 uid = BPF_CORE_READ(task, cred, uid.val), owner, noise;
	bool cut = false, telling;
	u8 yes = 1;

	identity.inode = t->inode_number;
	identity.device = t->device;
	identity.generation = t->generation;
	telling = !writing && is_telling(dentry);
	if (!telling && !writing && bpf_map_lookup_elem(&noise_files, &identity))
		return TRACK_NOISE;
	if (!telling && (in_pycache(dentry) || (!writing && is_noise_name(s, dentry))))
		return TRACK_NOISE;
	if (!writing && sums->reads_reported >= files_per_process)
		return TRACK_UNNAMED;
	e = begin_record(s, struct event_file_opened, EVENT_FILE_OPENED);
	s->in_noise = 0;
	s->look_for_noise = !writing && !telling;
	e->path = append_path(s, task, BPF_CORE_READ(file, f_path.mnt), dentry, &cut);
	s->look_for_noise = 0;
	noise = telling ? 0 : prefix_noise(s);
	if (!writing && (noise || s->in_noise)) {
		bpf_map_update_elem(&noise_files, &identity, &yes, BPF_ANY);
		return TRACK_NOISE;
	}
	if (noise == NOISE_ALL)
		return TRACK_NOISE;
	e->process.tgid = task->tgid;
	e->process.start_boottime_ns = sums->start_boottime_ns;
	e->open_id = t->open_id;
	e->inode = t->inode_number;
	e->size_bytes = BPF_CORE_READ(inode, i_size);
	e->device = t->device;
	e->generation = identity.generation;
	e->open_flags = t->open_flags;
	e->descriptor = descriptor;
	e->opened_flags = opened_flags;
	e->thread = task->pid;
	owner = owner_of(file, uid);
	if (owner & OWNED_BY_ROOT)
		e->opened_flags |= OPENED_ROOT_OWNS;
	if (owner & OWNED_BY_USER)
		e->opened_flags |= OPENED_USER_OWNS;
	if (in_folder_of(file, uid))
		e->opened_flags |= OPENED_IN_FOLDER_OF_USER;
	if (cut)
		e->opened_flags |= OPENED_PATH_CUT;
	if (is_deleted(dentry))
		e->opened_flags |= OPENED_DELETED;
	return TRACK_REPORTED;
}

static __always_inline bool is_datagram(struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);

	return BPF_CORE_READ(socket, sk, sk_protocol) == IPPROTO_UDP;
}

/* The limit of names is one per window, not one per life: a worker that lives for weeks names each task by a file. */
static __always_inline void open_window(struct watched *sums)
{
	u64 now = bpf_ktime_get_boot_ns();

	if (now - sums->window_ns < FILES_WINDOW_NS)
		return;
	sums->window_ns = now;
	sums->reads_reported = 0;
	sums->writes_reported = 0;
	sums->changes_reported = 0;
}

/* Functions with numbers for arguments are global, so that the verifier looks at each of them once and not from every
 * place that calls it: that halves the time to load. */

/* Begins to follow what a descriptor of the current task leads to. */
__noinline int track(u32 descriptor, u32 opened_flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *file = file_of(task, descriptor);
	struct scratch *s;
	struct file_key key = {};
	struct tracked_file *t;
	struct watched *sums;
	struct inode *inode;
	bool writing;
	u16 kind;

	if (!file)
		return 0;
	key.tgid = task->tgid;
	key.descriptor = descriptor;
	sums = sums_of(key.tgid, task, EVENT_FILE_OPENED);
	if (!sums)
		return 0;
	t = bpf_map_lookup_elem(&tracked_files, &key);
	if (t)
		finish_file(&key, t, sums, CLOSED_UNSEEN);
	s = take_scratch(CALL_SCRATCHES);
	if (!s) {
		count_nested(EVENT_FILE_OPENED);
		return 0;
	}

	inode = BPF_CORE_READ(file, f_inode);
	t = &s->fresh;
	__builtin_memset(t, 0, sizeof(*t));
	t->file = (u64)file;
	t->inode = (u64)inode;
	t->inode_number = BPF_CORE_READ(inode, i_ino);
	t->device = BPF_CORE_READ(inode, i_sb, s_dev);
	t->generation = BPF_CORE_READ(inode, i_generation);
	t->open_flags = BPF_CORE_READ(file, f_flags);
	t->open_id = __sync_fetch_and_add(&sums->last_open_id, 1) + 1;
	kind = BPF_CORE_READ(inode, i_mode) & S_IFMT;
	if (kind == S_IFSOCK) {
		t->state = is_datagram(file) ? TRACK_DATAGRAM : TRACK_OTHER;
	} else if (kind != S_IFREG || is_pseudo(BPF_CORE_READ(inode, i_sb, s_magic))) {
		t->state = TRACK_OTHER;
	} else {
		count_seen(EVENT_FILE_OPENED);
		__sync_fetch_and_add(&sums->opened_files, 1);
		writing = BPF_CORE_READ(file, f_mode) & FMODE_WRITE;
		open_window(sums);
		if (writing && sums->writes_reported >= files_per_process)
			t->state = TRACK_UNNAMED; /* before all that a name costs: a flood must be cheap */
		else
			t->state = describe(s, task, descriptor, opened_flags, file, inode, sums, writing);
		if (t->state == TRACK_REPORTED) {
			__sync_fetch_and_add(writing ? &sums->writes_reported : &sums->reads_reported, 1);
			__sync_fetch_and_add(&sums->reported_files, 1);
			submit_record(s, RING_BULK, task, EVENT_FILE_OPENED, false);
		} else if (t->state == TRACK_NOISE) {
			__sync_fetch_and_add(&sums->noise_files, 1);
			count_filtered(EVENT_FILE_OPENED, FILTER_NOISE);
		} else {
			__sync_fetch_and_add(&sums->unnamed_files, 1);
			count_filtered(EVENT_FILE_OPENED, FILTER_LIMIT);
		}
	}
	if (bpf_map_update_elem(&tracked_files, &key, t, BPF_ANY)) {
		if (t->state < TRACK_OTHER) {
			count_seen(EVENT_FILE_CLOSED);
			count_lost(EVENT_FILE_CLOSED, LOSS_TABLE_FULL);
		}
	} else {
		__sync_fetch_and_add(&sums->files_tracked, 1);
		if (descriptor > sums->highest_descriptor)
			sums->highest_descriptor = descriptor;
	}
	give_back(s);
	return 0;
}

#include "file_use.bpf.h"

#endif
