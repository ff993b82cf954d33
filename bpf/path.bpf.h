/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Paths from struct path, never from system call arguments: those can be unreadable, relative, or rewritten by a thread. */
#ifndef KWITNESS_PATH_BPF_H
#define KWITNESS_PATH_BPF_H

#include "compat.bpf.h"
#include "emit.bpf.h"

#define PATH_DEPTH 96 /* components; deeper paths come out cut at the front */

struct path_user {
	struct scratch *scratch; /* the state of the walk is there, and not on the stack: see struct scratch */
};

/* Eight bytes at a time: each byte would be a way of its own for the verifier. `a` is aligned if it is on the stack. */
static __always_inline bool same_bytes(const void *a, const char *b, const u32 bytes)
{
	const char *left = a;
	u32 i = 0;

	for (; i + 8 <= bytes; i += 8)
		if (*(const u64 *)(left + i) != *(const u64 *)(b + i))
			return false;
	for (; i + 4 <= bytes; i += 4)
		if (*(const u32 *)(left + i) != *(const u32 *)(b + i))
			return false;
	for (; i < bytes; i++)
		if (left[i] != b[i])
			return false;
	return true;
}

/* Puts "/name" in front of what is there. */
static __always_inline int prepend(struct scratch *s, const void *name, u32 length)
{
	u32 position = s->path_position;

	if (length >= PATH_NAME_BYTES)
		length = PATH_NAME_BYTES - 1;
	if (position < length + 1)
		return 1;
	position -= length + 1;
	/* position < TEXT_BYTES and length < PATH_NAME_BYTES, so the write ends inside path[] */
	position &= TEXT_BYTES - 1;
	barrier_var(length); /* or the compiler drops the mask, which older verifiers need */
	length &= PATH_NAME_BYTES - 1;
	s->path[position] = '/';
	bpf_probe_read_kernel(&s->path[position + 1], length, name);
	s->path_position = position;
	return 0;
}

static __always_inline void compare_component(struct scratch *s, const void *name, u32 length)
{
	__builtin_memset(&s->component, 0, sizeof(s->component));
	barrier_var(length); /* or the compiler drops the mask, which older verifiers need */
	bpf_probe_read_kernel(&s->component, length & (NOISE_COMPONENT_BYTES - 1), name);
	if (bpf_map_lookup_elem(&noise_components, &s->component))
		s->in_noise = 1;
}

static long on_path_step(u32 index, struct path_user *user)
{
	struct scratch *s = user->scratch;
	struct path_walk *walk = &s->path_walk;
	struct dentry *dentry = (void *)walk->dentry, *parent;
	struct mount *mount = (void *)walk->mount, *above;
	const void *name;
	u32 length;

	if (walk->dentry == walk->root_dentry && walk->mount == walk->root_mount) {
		walk->done = 1;
		return 1;
	}
	if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
		above = BPF_CORE_READ(mount, mnt_parent);
		if (above == mount) {
			walk->done = 1;
			return 1;
		}
		walk->dentry = (u64)BPF_CORE_READ(mount, mnt_mountpoint);
		walk->mount = (u64)above;
		return 0;
	}
	parent = BPF_CORE_READ(dentry, d_parent);
	if (parent == dentry) { /* a root that is not mounted: pipefs, memfd, a detached tree */
		walk->done = 1;
		return 1;
	}
	length = BPF_CORE_READ(dentry, d_name.len);
	name = BPF_CORE_READ(dentry, d_name.name);
	if (prepend(s, name, length))
		return 1;
	if (s->look_for_noise && length < NOISE_COMPONENT_BYTES)
		compare_component(s, name, length);
	walk->dentry = (u64)parent;
	return 0;
}

/* Appends what scratch->path holds from `position` on. */
static __always_inline u16 append_path_text(struct scratch *s, u32 position)
{
	u32 length;

	if (position >= TEXT_BYTES)
		return 0;
	length = TEXT_BYTES - position;
	position &= TEXT_BYTES - 1;
	return append_kernel(s, &s->path[position], length);
}

static __always_inline struct mount *mount_of(struct vfsmount *mnt)
{
	return (void *)mnt - bpf_core_field_offset(struct mount, mnt);
}

#define PATH_CUT (1 << 16)

/* Of a struct vfsmount * and a struct dentry *; gives the length, and PATH_CUT. Global: see share.bpf.h. */
__weak __noinline int append_path_of(u32 slot, u64 mnt, u64 dentry)
{
	struct scratch *s = scratch_at(slot);
	struct path_user user = {s};
	struct task_struct *task;
	int cut;

	if (!s)
		return 0;
	task = (void *)s->task;
	s->path_walk.dentry = dentry;
	s->path_walk.mount = (u64)mount_of((void *)mnt);
	s->path_walk.root_dentry = (u64)BPF_CORE_READ(task, fs, root.dentry);
	s->path_walk.root_mount = (u64)mount_of(BPF_CORE_READ(task, fs, root.mnt));
	s->path_walk.done = 0;
	s->path_position = TEXT_BYTES;
	bpf_loop(PATH_DEPTH, on_path_step, &user, 0);
	cut = s->path_walk.done ? 0 : PATH_CUT;
	if (!cut && s->path_position == TEXT_BYTES)
		prepend(s, NULL, 0);
	return append_path_text(s, s->path_position) | cut;
}

/* Appends the path as the task sees it, from its own root; *cut is set when its front did not fit. */
static __always_inline u16 append_path(struct scratch *s, struct task_struct *task, struct vfsmount *mnt, struct dentry *dentry,
				       bool *cut)
{
	int found;

	s->task = (u64)task;
	found = append_path_of(s->slot, (u64)mnt, (u64)dentry);
	if (found & PATH_CUT)
		*cut = true;
	return found;
}

static __always_inline bool is_deleted(struct dentry *dentry)
{
	return !BPF_CORE_READ(dentry, d_hash.pprev);
}

static long on_kernfs_step(u32 index, struct path_user *user)
{
	struct scratch *s = user->scratch;
	struct kernfs_node *node = (void *)s->path_walk.node, *parent = kernfs_parent(node);
	const char *name;
	long length;

	if (!parent) {
		s->path_walk.done = 1;
		return 1;
	}
	name = BPF_CORE_READ(node, name);
	length = bpf_probe_read_kernel_str(s->chunk, PATH_NAME_BYTES, name);
	if (length < 1 || prepend(s, s->chunk, length - 1))
		return 1;
	s->path_walk.node = (u64)parent;
	return 0;
}

__weak __noinline int append_cgroup_of(u32 slot, u64 node)
{
	struct scratch *s = scratch_at(slot);
	struct path_user user = {s};

	if (!s)
		return 0;
	s->path_position = TEXT_BYTES;
	s->path_walk.node = node;
	s->path_walk.done = 0;
	bpf_loop(PATH_DEPTH, on_kernfs_step, &user, 0);
	if (s->path_walk.done && s->path_position == TEXT_BYTES)
		prepend(s, NULL, 0);
	return append_path_text(s, s->path_position);
}

/* Appends a cgroup's path below the root of its hierarchy. */
static __always_inline u16 append_cgroup(struct scratch *s, struct cgroup *cgroup)
{
	return cgroup ? append_cgroup_of(s->slot, (u64)BPF_CORE_READ(cgroup, kn)) : 0;
}

#endif
