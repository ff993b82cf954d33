# Run by test_wheel.sh in a root without libbpf: kwitness from the wheel loads its own, sees a command, and explains an incident.
set -euo pipefail
export PATH=/opt/kwitness/bin:/usr/sbin:/usr/bin:/sbin:/bin
stop() { echo "test-wheel: $*" >&2; exit 1; }

if ldconfig -p | grep -E 'lib(bpf|elf)\.so'; then stop "this root has a libbpf or libelf"; fi
kwitness check > /tmp/check || [ $? = 1 ] || { cat /tmp/check; stop "check failed"; }
grep -q 'library: libbpf .*, bundled' /tmp/check || { cat /tmp/check; stop "the bundled libbpf is not used"; }

kwitness run --source ebpf -- true || stop "run -- true ended with $?"

rm -f /tmp/export.csv  # of a run that was interrupted
status=0
kwitness run --source ebpf --json --report /tmp/report.json -- bash -c \
    'dd if=/dev/zero of=/tmp/export.csv bs=512 status=none & until [ -s /tmp/export.csv ]; do :; done; kill -9 $!; wait $!' \
    > /tmp/run.json || status=$?
[ "$status" = 137 ] || stop "the killed command ended with $status instead of 137"
python3 - << 'END'
import json

found = {finding["kind"] for finding in json.load(open("/tmp/run.json"))["findings"]}
assert {"process.killed", "file.partial_write"} <= found, found
assert json.load(open("/tmp/report.json"))["verdict"] == "incident"
END
rm -f /tmp/export.csv /tmp/run.json /tmp/report.json /tmp/check
