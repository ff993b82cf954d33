"""Writes etl.ipynb, and etl_killed.ipynb whose kernel kills itself, to the directory that is given."""

import sys

import nbformat

SAY = "import os, subprocess, sys\nsys.path.insert(0, os.environ['TRUTH_DIR'])\nfrom truth import here\nhere(notebook='etl.ipynb')"
WORK = "path = f\"{os.environ['PIPE_WORK']}/pm_{day}.txt\"\nopen(path, 'w').write(day)\nsubprocess.run(['wc', '-c', path])"
notebook = nbformat.v4.new_notebook(
    metadata={"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
)
parameters = nbformat.v4.new_code_cell("day = 'none'", metadata={"tags": ["parameters"]})
notebook.cells = [parameters, nbformat.v4.new_code_cell(SAY), nbformat.v4.new_code_cell(WORK)]
nbformat.write(notebook, sys.argv[1] + "/etl.ipynb")
notebook.cells.append(
    nbformat.v4.new_code_cell("import signal\nos.kill(os.getpid(), signal.SIGKILL)")
)
nbformat.write(notebook, sys.argv[1] + "/etl_killed.ipynb")
