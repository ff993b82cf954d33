"""Reads objects of S3 through a pool of two connections. In the middle of two reads the credentials
expire: both readers keep their connections while one of them asks STS for new ones,
by the web identity token that it was given.

`read_events.py S3_PORT STS_PORT TOKEN_FILE`
"""

import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.session
import urllib3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import RefreshableCredentials

S3, STS, TOKEN, PATIENCE = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), 2.0
OBJECT = "/lake/partition_date=2024-01-15/big.bin"
SIGNED = {
    "Authorization": (
        "AWS4-HMAC-SHA256 Credential=x/20240115/us-east-1/s3/aws4_request, "
        "SignedHeaders=host, Signature=0"
    )
}
pool = urllib3.HTTPConnectionPool("127.0.0.1", S3, maxsize=2, block=True)
BEGAN = time.monotonic()


def log(*words):
    print(f"{time.monotonic() - BEGAN:6.2f}", *words, flush=True)


def refresh():
    """botocore's own client, for AssumeRoleWithWebIdentity."""
    client = botocore.session.get_session().create_client(
        "sts",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{STS}",
        config=Config(signature_version=UNSIGNED, read_timeout=60),
    )
    found = client.assume_role_with_web_identity(
        RoleArn="arn:aws:iam::123456789012:role/reader",
        RoleSessionName="events",
        WebIdentityToken=TOKEN.read_text(),
    )["Credentials"]
    return {
        "access_key": found["AccessKeyId"],
        "secret_key": found["SecretAccessKey"],
        "token": found["SessionToken"],
        "expiry_time": "2099-01-01T00:00:00+00:00",
    }


expired = datetime.now(UTC) - timedelta(hours=1)
credentials = RefreshableCredentials("x", "y", "z", expired, refresh, "web")


def stream():
    """Half of the object, then new credentials, then the other half:
    the connection is held all the time."""
    answer = pool.urlopen("GET", OBJECT, headers=SIGNED, preload_content=False)
    got = len(answer.read(100_000))
    credentials.get_frozen_credentials()  # all who ask wait for the one that refreshes
    got += len(answer.read())
    answer.release_conn()
    log("streamed", got, "bytes")


def read(attempts=6):
    for attempt in range(1, attempts + 1):
        try:
            found = pool.request(
                "GET", OBJECT, headers=SIGNED, pool_timeout=PATIENCE, retries=False
            )
            return log("read", len(found.data), "bytes")
        except urllib3.exceptions.EmptyPoolError:
            log(
                f"Failed to read s3:/{OBJECT}: Read timeout after {PATIENCE} s, retrying "
                f"({attempt}/{attempts})"
            )
    return None


for _ in range(60):
    try:
        pool.request("PUT", "/lake", headers=SIGNED)
        break
    except urllib3.exceptions.MaxRetryError:
        time.sleep(0.5)
pool.request("PUT", OBJECT, body=b"x" * 5_000_000, headers=SIGNED)
streams = [threading.Thread(target=stream) for _ in range(2)]
for each in streams:
    each.start()
time.sleep(0.5)
read()
for each in streams:
    each.join()
