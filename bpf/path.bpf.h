/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Paths from struct path, never from system call arguments: those can be unreadable, relative, or rewritten by a thread. */
#ifndef KWITNESS_PATH_BPF_H
#define KWITNESS_PATH_BPF_H

#include "compat.bpf.h"
#include "emit.bpf.h"

#define PATH_DEPTH 96 /* components; deeper paths come out cut at the front */

struct path_walk {
	struct scratch *scratch;
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *root_dentry; /* where the process's own view begins: chroot(2), pivot_root(2) */
	struct mount *root_mount;
	u32 done;
};

static __always_inline bool same_bytes(const void *a, const char *b, const u32 bytes)
{
	const char *left = a;
	u32 i;

	for (i = 0; i < bytes; i++)
		if (left[i] != b[i])
			return false;
	return true;
}

/* Puts "/name" in front of what is there. */
static __always_inline int prepend(struct path_walk *walk, const void *name, u32 length)
{
	u32 position = walk->scratch->path_position;

	if (length >= PATH_NAME_BYTES)
		length = PATH_NAME_BYTES - 1;
	if (position < length + 1)
		return 1;
	position -= length + 1;
	/* position < TEXT_BYTES and length < PATH_NAME_BYTES, so the write ends inside path[] */
	position &= TEXT_BYTES - 1;
	barrier_var(length); /* or the compiler drops the mask, which older verifiers need */
	length &= PATH_NAME_BYTES - 1;
	walk->scratch->path[position] = '/';
	bpf_probe_read_kernel(&walk->scratch->path[position + 1], length, name);
	walk->scratch->path_position = position;
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

static long on_path_step(u32 index, struct path_walk *walk)
{
	/* kernel pointers in locals: CO-RE would try to relocate walk->dentry too */
	struct dentry *dentry = walk->dentry, *parent;
	struct mount *mount = walk->mount, *above;
	const void *name;
	u32 length;

	if (dentry == walk->root_dentry && mount == walk->root_mount) {
		walk->done = 1;
		return 1;
	}
	if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
		above = BPF_CORE_READ(mount, mnt_parent);
		if (above == mount) {
			walk->done = 1;
			return 1;
		}
		walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		walk->mount = above;
		return 0;
	}
	parent = BPF_CORE_READ(dentry, d_parent);
	if (parent == dentry) { /* a root that is not mounted: pipefs, memfd, a detached tree */
		walk->done = 1;
		return 1;
	}
	length = BPF_CORE_READ(dentry, d_name.len);
	name = BPF_CORE_READ(dentry, d_name.name);
	if (prepend(walk, name, length))
		return 1;
	if (walk->scratch->look_for_noise && length < NOISE_COMPONENT_BYTES)
		compare_component(walk->scratch, name, length);
	walk->dentry = parent;
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

/* Appends the path as the task sees it, from its own root; *cut is set when its front did not fit. */
static __always_inline u16 append_path(struct scratch *s, struct task_struct *task, struct vfsmount *mnt, struct dentry *dentry,
				       bool *cut)
{
	struct path_walk walk = {};

	walk.scratch = s;
	walk.dentry = dentry;
	walk.mount = mount_of(mnt);
	walk.root_dentry = BPF_CORE_READ(task, fs, root.dentry);
	walk.root_mount = mount_of(BPF_CORE_READ(task, fs, root.mnt));
	s->path_position = TEXT_BYTES;
	bpf_loop(PATH_DEPTH, on_path_step, &walk, 0);
	if (!walk.done)
		*cut = true;
	else if (s->path_position == TEXT_BYTES)
		prepend(&walk, NULL, 0);
	return append_path_text(s, s->path_position);
}

static __always_inline bool is_deleted(struct dentry *dentry)
{
	return !BPF_CORE_READ(dentry, d_hash.pprev);
}

struct kernfs_walk {
	struct path_walk base;
	struct kernfs_node *node;
};

static long on_kernfs_step(u32 index, struct kernfs_walk *walk)
{
	struct kernfs_node *node = walk->node, *parent = kernfs_parent(node);
	const char *name;
	long length;

	if (!parent) {
		walk->base.done = 1;
		return 1;
	}
	name = BPF_CORE_READ(node, name);
	length = bpf_probe_read_kernel_str(walk->base.scratch->chunk, PATH_NAME_BYTES, name);
	if (length < 1 || prepend(&walk->base, walk->base.scratch->chunk, length - 1))
		return 1;
	walk->node = parent;
	return 0;
}

/* Appends a cgroup's path below the root of its hierarchy. */
static __always_inline u16 append_cgroup(struct scratch *s, struct cgroup *cgroup)
{
	struct kernfs_walk walk = {};

	if (!cgroup)
		return 0;
	walk.base.scratch = s;
	s->path_position = TEXT_BYTES;
	walk.node = BPF_CORE_READ(cgroup, kn);
	bpf_loop(PATH_DEPTH, on_kernfs_step, &walk, 0);
	if (walk.base.done && s->path_position == TEXT_BYTES)
		prepend(&walk.base, NULL, 0);
	return append_path_text(s, s->path_position);
}

#endif
