"""Decides whether the sentences of a report are true.

A command runs under kwitness and, at the same time, under witnesses that share no code with it:
strace(1), and files of /proc and of the cgroups that are read every 20 ms. Each claim of the report
is then true, false or not decided.

    strace    what strace saw of each process
    polls     what /proc and the cgroups held, over time
    forms     what a form of a sentence is
    claims    the forms by subject, and how a witness decides each
    check     a report against the witnesses
    play      one command under kwitness and the witnesses
    told      what was said of many runs: saved, counted, and put into a page

`python -m tests.truth COMMAND …` runs one command, `--folder` each `run.sh` and `twin.sh` below a
folder, `--lines` each line of a file, `--lab` the scenes of the laboratory. It ends with 1 if a
sentence was false.
"""
