"""Reads an object of S3 through a pool of two connections, which the refresh of its credentials uses, too.

`read_events.py PORT`
"""

import sys
import threading
import time

import urllib3

PORT, PATIENCE = int(sys.argv[1]), 2.0
OBJECT = "/lake/partition_date=2024-01-15/big.bin"
SIGNED = "AWS4-HMAC-SHA256 Credential=x/20240115/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
S3 = {"Authorization": SIGNED.format("s3")}
STS = {"Authorization": SIGNED.format("sts"), "Content-Type": "application/x-www-form-urlencoded"}
pool = urllib3.HTTPConnectionPool("127.0.0.1", PORT, maxsize=2, block=True)
BEGAN = time.monotonic()


def log(*words):
    print(f"{time.monotonic() - BEGAN:6.2f}", *words, flush=True)


def refresh():
    pool.request("POST", "/", body="Action=GetCallerIdentity&Version=2011-06-15", headers=STS)


def read(attempts=6):
    for attempt in range(1, attempts + 1):
        try:
            found = pool.request("GET", OBJECT, headers=S3, pool_timeout=PATIENCE, retries=False)
            return log("read", len(found.data), "bytes")
        except urllib3.exceptions.EmptyPoolError:
            log(f"Failed to read s3:/{OBJECT}: Connection timeout after {PATIENCE} s, retrying ({attempt}/{attempts})")
    return None


for _ in range(60):
    try:
        pool.request("PUT", "/lake", headers=S3)
        break
    except urllib3.exceptions.MaxRetryError:
        time.sleep(0.5)
pool.request("PUT", OBJECT, body=b"x" * 5_000_000, headers=S3)
read()
refreshes = [threading.Thread(target=refresh) for _ in range(2)]
for each in refreshes:
    each.start()
time.sleep(0.2)
read()
for each in refreshes:
    each.join()
