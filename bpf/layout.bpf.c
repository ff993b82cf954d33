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
struct event_file_opened keep_file_opened;
struct event_file_closed keep_file_closed;
struct event_file_changed keep_file_changed;
struct event_file_totals keep_file_totals;
struct event_call_failed keep_call_failed;
struct event_connection keep_connection;
struct event_name_query keep_name_query;
struct event_unix_connected keep_unix_connected;
struct event_process_sample keep_process_sample;
struct event_thread_wait keep_thread_wait;
struct event_neighbour keep_neighbour;
struct event_crash keep_crash;
struct event_wait_stack keep_wait_stack;
struct event_oom_member keep_oom_member;
struct event_oom_memory keep_oom_memory;
struct ledger keep_ledger;
enum constant keep_constant;
enum secret_word keep_secret_word;
enum event_kind keep_event_kind;
enum loss_reason keep_loss_reason;
enum filter_reason keep_filter_reason;
enum stdio_kind keep_stdio_kind;
enum oom_scope keep_oom_scope;
enum file_reason keep_file_reason;
enum image_flag keep_image_flag;
enum file_flag keep_file_flag;
enum opened_flag keep_opened_flag;
enum closed_flag keep_closed_flag;
enum file_operation keep_file_operation;
enum subject_kind keep_subject_kind;
enum call_kind keep_call_kind;
enum connection_stage keep_connection_stage;
enum connection_flag keep_connection_flag;
enum wait_object keep_wait_object;
enum member_flag keep_member_flag;
enum look_flag keep_look_flag;
