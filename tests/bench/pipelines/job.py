"""A local Spark job: make, shuffle, write by partition, read again."""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

spark = (
    SparkSession.builder.master("local[2]")
    .appName("bench")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "8")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
users = (
    spark.range(2_000_000)
    .withColumn("bucket", f.col("id") % 16)
    .withColumn("token", f.md5(f.col("id").cast("string")))
)
users.groupBy("bucket").agg(f.countDistinct("token").alias("n")).orderBy("bucket").collect()
users.repartition(8, "bucket").write.mode("overwrite").partitionBy("bucket").parquet(sys.argv[1])
assert spark.read.parquet(sys.argv[1]).count() == 2_000_000
spark.stop()
