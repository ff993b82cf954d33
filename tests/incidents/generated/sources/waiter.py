"""Runs a command with its output in a pipe: `first` waits for the end and reads then,
`last` reads to the end first."""

import subprocess
import sys

way, own, *command = sys.argv[1:]
with open(own, "w") as file, open("/proc/self/stat") as stat:
    file.write(stat.read().split()[0])
child = subprocess.Popen(command, stdout=subprocess.PIPE)
if way == "first":
    child.wait()
output, _ = child.communicate()
print(len(output))
sys.exit(child.returncode)
