"""Score a list of photos with Spark, into a folder of Parquet files.

    pip install 'mlclassify[parquet]' pyspark pandas    # and Java 17 or newer
    python score_spark.py bears.safetensors list.txt scores    # or spark-submit

The list names a photo a line. It, the model and the photos lie where all machines see them. Rows
have the columns of `mlclassify score`, in no order.
"""

import sys

import numpy as np
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import SparkSession
from pyspark.sql.types import FloatType, StringType, StructType

from mlclassify.scoring.scorer import Scorer

SPARK = {str: StringType(), float: FloatType()}


def main(model, files, out):
    scorer, row = Scorer(model), StructType()
    for name, kind in scorer.columns.items():
        row.add(name, SPARK[kind])
    # Spark runs a task on each core, so a task has one thread.
    settings = {"spark.executorEnv.MLCLASSIFY_NUM_THREADS": "1"}
    spark = SparkSession.builder.config(map=settings).getOrCreate()

    def columns(names):  # of rows Spark takes none whose first one holds a None
        rows = scorer(names)
        return {name: np.array([row[name] for row in rows], object) for name in scorer.columns}

    score = predict_batch_udf(lambda: columns, return_type=row, batch_size=256)
    photos = spark.read.text(files).repartition(spark.sparkContext.defaultParallelism)
    photos.select(score("value").alias("row")).select("row.*").write.parquet(out)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
