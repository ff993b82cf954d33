"""A local S3 and STS (moto), whose STS is slow: `slow_s3.py PORT SECONDS`."""

import sys
import time

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

PORT, DELAY = int(sys.argv[1]), float(sys.argv[2])
moto = DomainDispatcherApplication(create_backend_app)


def application(environ, start_response):
    if (
        environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == "/"
    ):  # STS speaks by POST to the root
        time.sleep(DELAY)
    return moto(environ, start_response)


run_simple("127.0.0.1", PORT, application, threaded=True, use_reloader=False)
