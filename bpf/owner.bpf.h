/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whose file is it? A process of one user can give itself any name, title and path; it cannot own a file of another user. */
#ifndef KWITNESS_OWNER_BPF_H
#define KWITNESS_OWNER_BPF_H

#include "compat.bpf.h"

#define FUSE_MAGIC 0x65735546 /* include/uapi/linux/magic.h, FUSE_SUPER_MAGIC */
#define MNT_NOSUID 0x01	      /* include/linux/mount.h */
#define MNT_NODEV 0x02
#define MODE_GROUP_WRITES 0020
#define MODE_OTHERS_WRITE 0002

enum file_owner {
	OWNED_BY_ROOT = 1,
	OWNED_BY_USER = 2, /* by the user of the process that is asked about */
};

/* Some file systems show owners that an ordinary user chose: FUSE, what was mounted in a user namespace, and removable media
 * and loop devices, which udisks mounts with nosuid and nodev. */
static __always_inline bool shows_true_owners(struct file *file, struct inode *inode)
{
	const int untrusted = MNT_NOSUID | MNT_NODEV;

	return BPF_CORE_READ(inode, i_sb, s_magic) != FUSE_MAGIC && !BPF_CORE_READ(inode, i_sb, s_user_ns, level) &&
	       (BPF_CORE_READ(file, f_path.mnt, mnt_flags) & untrusted) != untrusted;
}

/* Bits of file_owner; none when a third user owns the file or others may write it. The group of root, and a group with the
 * number of the owner (his private one), count as the owner. */
static __always_inline u32 owner_of(struct file *file, u32 uid)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	u32 mode = BPF_CORE_READ(inode, i_mode);
	u32 owner = BPF_CORE_READ(inode, i_uid.val);
	u32 group = BPF_CORE_READ(inode, i_gid.val);

	if (!inode || (mode & MODE_OTHERS_WRITE) || ((mode & MODE_GROUP_WRITES) && group && group != owner))
		return 0;
	if (!shows_true_owners(file, inode))
		return owner == uid && uid ? OWNED_BY_USER : 0;
	return (owner ? 0 : OWNED_BY_ROOT) | (owner == uid ? OWNED_BY_USER : 0);
}

/* Whether the folder that a file is in belongs to the user. */
static __always_inline bool in_folder_of(struct file *file, u32 uid)
{
	struct inode *folder = BPF_CORE_READ(file, f_path.dentry, d_parent, d_inode);

	return folder && BPF_CORE_READ(folder, i_uid.val) == uid;
}

#endif
