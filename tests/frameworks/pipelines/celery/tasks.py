import os
import subprocess
import sys

from celery import Celery

sys.path.insert(0, os.environ["TRUTH_DIR"])
from truth import here

QUEUE = os.environ["PIPE_WORK"] + "/queue"
os.makedirs(QUEUE, exist_ok=True)
app = Celery("shop", broker="filesystem://")
app.conf.broker_transport_options = {"data_folder_in": QUEUE, "data_folder_out": QUEUE}


@app.task
def add(a, b):
    here(task="add")
    subprocess.run(
        ["sh", "-c", 'echo "{\\"pid\\": $$, \\"task\\": \\"add\\"}" >> $TRUTH'], check=True
    )
    return a + b
