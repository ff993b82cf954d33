"""Names that only others use: vulture (`make lint`) takes them as used.

A name that nobody uses any more is removed here, too.
"""

# set on modules and classes of other packages, or called by them
_.unraisablehook  # sys
_.raiseExceptions  # logging
_.rejected_log_records  # protobuf
_.text_factory  # sqlite3
_.log_exception  # aiohttp
_.man_short_description  # argparse_manpage
_.default_message_class  # pyroute2, and the following six
_.versioned_stats
_.aggr_pid
_.aggr_tgid
_.shutdown_asyncgens
_.is_closed
_.setup_endpoint
_._sync_bind
_.async_class

# fields of stored or printed values
_.shape
_.processes_left_out
_.rtt_seconds
_.files_counted
_.limit_y

# the tests' view of an account
_.enqueued
_.suppressed
cited
REASONS
RedactedFormatter
