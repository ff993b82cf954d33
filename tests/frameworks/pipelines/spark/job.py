"""Parquet written partitioned by date, a shuffle, a Python stage; `job.py [MODE]` with MODE ok, or hog: the Python workers' memory
follows the rows of a partition, of which one is large."""

import os
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

WORK = os.environ["PIPE_WORK"]
MODE = sys.argv[1] if len(sys.argv) > 1 else "ok"
ROWS = 200_000
spark = SparkSession.builder.appName("users").getOrCreate()
context = spark.sparkContext


def say(**who):
    if "TRUTH" in os.environ:
        sys.path.insert(0, os.environ["TRUTH_DIR"])
        from truth import here

        here(**who)


say(app=context.applicationId, role="driver")
rows = (
    spark.range(0, ROWS, 1, 4)
    .withColumn("user_id", F.col("id") % 100)
    .withColumn(
        "partition_date",
        F.when(F.col("id") < ROWS * 15 // 100, "2024-01-14").otherwise("2024-01-15"),
    )
)
rows.write.mode("overwrite").partitionBy("partition_date").parquet(f"{WORK}/events")
events = spark.read.parquet(f"{WORK}/events")
print("groups", events.groupBy("user_id").count().count(), flush=True)
app = context.applicationId


def work(part):
    say(app=app, role="worker")
    kept = []
    for row in part:
        if MODE == "hog":
            kept.append(bytearray(b"x" * 8192))
        yield (row % 7, 1)
    time.sleep(0.2)


for day in ("2024-01-14", "2024-01-15"):
    part = events.where(F.col("partition_date") == day).select("user_id").coalesce(1)
    found = (
        part.rdd.map(lambda row: row.user_id)
        .mapPartitions(work)
        .reduceByKey(lambda a, b: a + b)
        .collect()
    )
    print(day, len(found), flush=True)
spark.stop()
