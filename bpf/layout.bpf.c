/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Never loaded. One global per wire struct and enum keeps it in the BTF that generate.py reads. */
#include "maps.bpf.h"

struct event_fork keep_fork;
struct event_exec keep_exec;
struct event_existing keep_existing;
struct event_title keep_title;
struct event_exit keep_exit;
struct event_signal keep_signal;
struct event_oom_kill keep_oom_kill;
struct event_open_file keep_open_file;
struct ledger keep_ledger;
enum event_kind keep_event_kind;
enum loss_reason keep_loss_reason;
enum filter_reason keep_filter_reason;
enum stdio_kind keep_stdio_kind;
enum oom_scope keep_oom_scope;
enum file_reason keep_file_reason;
enum image_flag keep_image_flag;
enum file_flag keep_file_flag;
