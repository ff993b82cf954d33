import json
import os

with open(os.environ["TRUTH"], "a") as truth:
    truth.write(json.dumps({"pid": os.getpid(), "job": "py_script"}) + "\n")
with open(snakemake.output[0], "w") as out, open(snakemake.input[0]) as source:  # noqa: F821 (Snakemake puts it there)
    out.write(source.read(100))
