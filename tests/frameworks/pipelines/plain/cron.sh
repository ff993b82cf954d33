#!/bin/bash
# one line in the user's crontab and a daemon of our own, until the line has run (at most 75 s); the crontab is put back
here=$(cd "$(dirname "$0")" && pwd)
old=$(crontab -l 2> /dev/null)
printf 'PIPE_WORK=%s\nTRUTH=%s\n* * * * * %s/nightly.sh > %s/nightly.out 2>&1\n' "$PIPE_WORK" "$TRUTH" "$here" "$PIPE_WORK" | crontab -
/usr/sbin/cron -f & daemon=$!
for _ in $(seq 75); do grep -q "nightly done" "$PIPE_WORK/nightly.out" 2> /dev/null && break; sleep 1; done
kill $daemon; wait $daemon
if [ -n "$old" ]; then echo "$old" | crontab -; else crontab -r; fi
