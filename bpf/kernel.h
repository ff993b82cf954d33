/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few members of kernel structs that we read. preserve_access_index makes libbpf move every access to where the running
 * kernel keeps the member, so the order and the gaps here mean nothing. Members that were renamed live in compat.bpf.h.
 */
#ifndef KWITNESS_KERNEL_H
#define KWITNESS_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;
typedef int pid_t;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	s64 counter;
} atomic_long_t;

typedef struct {
	u32 val;
} kuid_t;

typedef struct {
	u32 val;
} kgid_t;

struct ns_common {
	unsigned int inum;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct net {
	struct ns_common ns;
};

struct pid_namespace {
	struct ns_common ns;
};

struct user_namespace {
	struct user_namespace *parent;
	int level; /* 0: the first one */
	kuid_t owner;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct net *net_ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct qstr {
	u32 len;
	const unsigned char *name;
};

struct hlist_bl_node {
	struct hlist_bl_node **pprev;
};

struct super_block {
	u32 s_dev;
	unsigned long s_magic;
	struct user_namespace *s_user_ns; /* who mounted it */
};

struct list_head {
	struct list_head *next;
};

struct file_lock_context {
	struct list_head flc_flock;
	struct list_head flc_posix;
};

struct inode {
	unsigned short i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	unsigned long i_ino;
	unsigned int i_nlink;
	u32 i_generation;
	s64 i_size;
	struct super_block *i_sb;
	struct file_lock_context *i_flctx;
};

struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};

struct vfsmount {
	struct dentry *mnt_root;
	int mnt_flags;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	unsigned int f_mode;
	unsigned int f_flags;
	struct inode *f_inode;
	struct path f_path;
	s64 f_pos;
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	unsigned long *open_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct fs_struct {
	struct path root;
	struct path pwd;
};

struct percpu_counter {
	s64 count;
};

struct maple_tree {
	void *ma_root;
};

struct maple_range_64 {
	void *parent;
	unsigned long pivot[15];
	void *slot[16];
};

struct maple_arange_64 {
	unsigned long pivot[9];
	void *slot[10];
};

struct mm_struct {
	struct maple_tree mm_mt;
	unsigned long hiwater_rss;
	unsigned long data_vm; /* pages, as the next two */
	unsigned long total_vm;
	unsigned long locked_vm;
	int map_count;
	unsigned long mmap_base;
	unsigned long start_code;
	unsigned long arg_start;
	unsigned long arg_end;
	unsigned long env_start;
	unsigned long env_end;
	struct percpu_counter rss_stat[4];
	struct file *exe_file;
};

struct task_io_accounting {
	u64 rchar;
	u64 wchar;
	u64 read_bytes;
	u64 write_bytes;
};

struct rlimit {
	unsigned long rlim_cur;
};

enum pid_type {
	PIDTYPE_SID = 3, /* relocated */
};

struct tty_struct;

struct signal_struct {
	atomic_t live;
	int nr_threads;
	int leader;
	struct tty_struct *tty;
	struct pid *pids[4];
	struct list_head thread_head;
	unsigned long nvcsw;
	unsigned long nivcsw;
	unsigned long maj_flt;
	struct rlimit rlim[16];
	int group_exit_code;
	unsigned int flags;
	u64 utime;
	u64 stime;
	unsigned long maxrss;
	struct task_io_accounting ioac;
	unsigned long long sum_sched_runtime;
	short oom_score_adj;
};

struct sigaction {
	void *sa_handler;
};

struct k_sigaction {
	struct sigaction sa;
};

struct sighand_struct {
	struct k_sigaction action[64];
};

union __sifields {
	struct {
		void *_addr;
	} _sigfault;
};

struct kernel_siginfo {
	int si_code;
	union __sifields _sifields;
};

struct kernfs_node {
	const char *name;
	u64 id;
};

struct psi_group {
	u64 total[12];
};

struct cgroup {
	struct psi_group *psi;
	struct kernfs_node *kn;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct list_head sibling;
	struct list_head children;
	struct cgroup_subsys_state *parent;
};

enum cgroup_subsys_id {
	memory_cgrp_id = 4, /* relocated: the number is the running kernel's */
};

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};

struct page_counter {
	atomic_long_t usage;
	unsigned long failcnt;
	unsigned long max;
};

enum zone_stat_item {
	NR_FREE_PAGES = 0, /* relocated */
};

enum lru_list {
	NR_LRU_LISTS = 5, /* relocated */
};

struct zone {
	struct pglist_data *zone_pgdat;
	atomic_long_t managed_pages;
	atomic_long_t vm_stat[1];
};

struct zoneref {
	struct zone *zone;
	int zone_idx;
};

struct zonelist {
	struct zoneref _zonerefs[1];
};

struct pglist_data {
	struct zonelist node_zonelists[1];
	int node_id;
};

struct lru_gen_folio {
	long nr_pages[1]; /* [MAX_NR_GENS][ANON_AND_FILE][MAX_NR_ZONES] */
};

struct lruvec {
	struct lru_gen_folio lrugen; /* with CONFIG_LRU_GEN */
	struct pglist_data *pgdat;
};

struct mem_cgroup_per_node {
	struct lruvec lruvec;
	unsigned long lru_zone_size[1]; /* [MAX_NR_ZONES][NR_LRU_LISTS] */
};

struct mem_cgroup {
	struct cgroup_subsys_state css;
	struct page_counter memory;
	struct page_counter kmem; /* cgroup v1 */
	bool oom_lock;		  /* cgroup v1, as the next two */
	int under_oom;
	int oom_kill_disable;
	struct mem_cgroup_per_node *nodeinfo[1];
};

struct cred {
	kuid_t uid;
	kgid_t gid;
	struct user_namespace *user_ns;
};

struct sched_entity {
	u64 sum_exec_runtime;
};

struct sched_info {
	unsigned long long run_delay;
};

struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_end;
	unsigned long vm_pgoff;
	unsigned long vm_flags;
	struct file *vm_file;
};

struct thread_info {
	unsigned long flags;
	unsigned int status;
};

struct pt_regs {
#if defined(__TARGET_ARCH_x86)
	unsigned long di;
	unsigned long si;
	unsigned long dx;
	unsigned long r10;
	unsigned long r8;
	unsigned long r9;
	unsigned long orig_ax;
	unsigned long ip;
#else
	u64 regs[31];
	u64 orig_x0;
	u64 pc;
	s32 syscallno;
#endif
};

struct thread_struct {
	unsigned long fsbase; /* x86-64 */
};

struct task_struct {
	struct thread_struct thread;
	struct thread_info thread_info;
	unsigned int __state;
	int on_cpu;
	struct task_group *sched_task_group;
	struct list_head tasks; /* all thread group leaders, in a circle through init_task */
	struct list_head thread_node;
	struct list_head children;
	struct list_head sibling;
	unsigned long nvcsw;
	unsigned long nivcsw;
	unsigned long maj_flt;
	unsigned int flags;
	pid_t pid;
	pid_t tgid;
	int exit_code;
	int pdeath_signal;
	struct task_struct *real_parent;
	struct task_struct *parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	u64 utime;
	u64 stime;
	int exit_state;
	u64 start_boottime;
	struct sched_entity se;
	struct sched_info sched_info;
	struct task_io_accounting ioac;
	const struct cred *cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct sighand_struct *sighand;
	struct css_set *cgroups;
	struct mm_struct *mm;
};

struct cfs_bandwidth {
	int nr_periods;
	int nr_throttled;
	u64 throttled_time;
};

struct task_group {
	struct cfs_bandwidth cfs_bandwidth;
};

struct linux_binprm {
	int argc;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	u64 seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

#define PF_KTHREAD 0x00200000	     /* include/linux/sched.h */
#define SIGNAL_GROUP_EXIT 0x00000004 /* include/linux/sched/signal.h */
#define VM_WRITE 0x2		     /* include/linux/mm.h */
#define VM_SHARED 0x8
#define FMODE_READ 0x1 /* include/linux/fs.h */
#define FMODE_WRITE 0x2
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFCHR 0020000
#define S_IFBLK 0060000
#define S_IFIFO 0010000

#endif
