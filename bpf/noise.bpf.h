/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files that are not the task's data: the interpreter's, the system's, and what only looks like a file. */
#ifndef KWITNESS_NOISE_BPF_H
#define KWITNESS_NOISE_BPF_H

#include "calls.bpf.h"

/* include/uapi/linux/magic.h: file systems that hold no data of anybody's */
static __always_inline bool is_pseudo(unsigned long magic)
{
	switch (magic) {
	case 0x9fa0:	 /* proc */
	case 0x62656572: /* sysfs */
	case 0x27e0eb:	 /* cgroup */
	case 0x63677270: /* cgroup2 */
	case 0x1cd1:	 /* devpts */
	case 0x64626720: /* debugfs */
	case 0x74726163: /* tracefs */
	case 0xcafe4a11: /* bpf */
	case 0x50495045: /* pipefs */
	case 0x534f434b: /* sockfs */
	case 0x09041934: /* anon_inodefs */
	case 0x73636673: /* securityfs */
	case 0xde5e81e4: /* efivarfs */
	case 0x6e736673: /* nsfs */
		return true;
	}
	return false;
}

/* The last 16 bytes of a name are in scratch->chunk, NULs after them: is its suffix one of the noise? */
__weak __noinline int has_noise_suffix(u32 slot)
{
	struct scratch *s = scratch_at(slot);
	struct noise_suffix key = {};
	u32 dot = NOISE_SUFFIX_BYTES, i;

	if (!s)
		return 0;
	for (i = 0; i < NOISE_SUFFIX_BYTES; i++) {
		if (s->chunk[i] != '.')
			continue;
		dot = i;
		if (same_bytes(&s->chunk[i], ".so.", 4)) /* libx.so.1.0 */
			return 1;
	}
	if (dot >= NOISE_SUFFIX_BYTES)
		return 0;
	bpf_probe_read_kernel(&key, sizeof(key), &s->chunk[dot & (NOISE_SUFFIX_BYTES - 1)]);
	return bpf_map_lookup_elem(&noise_suffixes, &key) != NULL;
}

static __always_inline bool is_noise_name(struct scratch *s, struct dentry *dentry)
{
	const unsigned char *name = BPF_CORE_READ(dentry, d_name.name);
	u32 length = BPF_CORE_READ(dentry, d_name.len);

	__builtin_memset(s->chunk, 0, 2 * NOISE_SUFFIX_BYTES);
	if (length > NOISE_SUFFIX_BYTES) {
		name += length - NOISE_SUFFIX_BYTES;
		length = NOISE_SUFFIX_BYTES;
	}
	barrier_var(length); /* or the compiler drops the mask, which older verifiers need */
	bpf_probe_read_kernel(s->chunk, length & (2 * NOISE_SUFFIX_BYTES - 1), name);
	return has_noise_suffix(s->slot);
}

/* Compiled Python, whatever its temporary name is. */
static __always_inline bool in_pycache(struct dentry *dentry)
{
	struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
	char name[16] __attribute__((aligned(8))) = {};

	if (BPF_CORE_READ(parent, d_name.len) != 11)
		return false;
	bpf_probe_read_kernel(name, 11, BPF_CORE_READ(parent, d_name.name));
	return same_bytes(name, "__pycache__", 11);
}

/* The `__init__` of a package whose import says what a process is: told, though it is code. Compiled or not. */
static __always_inline bool is_telling(struct dentry *dentry)
{
	struct dentry *package = BPF_CORE_READ(dentry, d_parent);
	struct telling_package key = {};
	char first[16] __attribute__((aligned(8))) = {};
	u32 length;

	if (BPF_CORE_READ(dentry, d_name.len) < 9)
		return false;
	bpf_probe_read_kernel(first, 9, BPF_CORE_READ(dentry, d_name.name));
	if (!same_bytes(first, "__init__.", 9))
		return false;
	if (in_pycache(dentry))
		package = BPF_CORE_READ(package, d_parent);
	length = BPF_CORE_READ(package, d_name.len);
	if (length >= TELLING_PACKAGE_BYTES)
		return false;
	barrier_var(length); /* or the compiler drops the mask, which older verifiers need */
	bpf_probe_read_kernel(&key, length & (TELLING_PACKAGE_BYTES - 1), BPF_CORE_READ(package, d_name.name));
	return bpf_map_lookup_elem(&telling_packages, &key);
}

/* The path is in scratch->path, from path_position on. */
static __always_inline u32 prefix_noise(struct scratch *s)
{
	u32 position = s->path_position, *found;

	if (position >= TEXT_BYTES)
		return 0;
	/* what follows the path's end is the room for one more name: never longer than the buffer */
	bpf_probe_read_kernel(s->prefix.path, NOISE_PREFIX_BYTES, &s->path[position & (TEXT_BYTES - 1)]);
	s->prefix.prefix_bits = NOISE_PREFIX_BYTES * 8;
	found = bpf_map_lookup_elem(&noise_prefixes, &s->prefix);
	return found ? *found : 0;
}

#endif
