/* The floor: programs that do nothing, on the hooks that kwitness holds while something is watched. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

#define EMPTY(name)                                \
	SEC("tp_btf/" #name)                       \
	int on_##name(unsigned long long *context) \
	{                                          \
		return 0;                          \
	}

EMPTY(sys_exit)
EMPTY(sched_process_fork)
EMPTY(sched_process_exec)
EMPTY(sched_process_exit)
EMPTY(task_rename)
EMPTY(signal_generate)
EMPTY(signal_deliver)
EMPTY(inet_sock_set_state)
EMPTY(tcp_receive_reset)
EMPTY(tcp_send_reset)
EMPTY(posix_lock_inode)
EMPTY(flock_lock_inode)
