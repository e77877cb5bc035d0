"""Score a list of photos with Ray, into a folder of Parquet files.

    pip install 'mlclassify[parquet]' 'ray[data]'
    python score_ray.py bears.safetensors list.txt scores

The list names a photo a line. It, the model and the photos lie where all machines see them. Rows
have the columns of `mlclassify score`.
"""

import sys
from pathlib import Path

import pyarrow
import ray

from mlclassify.scoring.parquet import schema_of
from mlclassify.scoring.scorer import Scorer


class Score:
    """An actor: a process that keeps the model."""

    def __init__(self, scorer):
        self.scorer, self.schema = scorer, schema_of(scorer.columns)

    def __call__(self, batch):
        return pyarrow.Table.from_pylist(self.scorer(batch["text"]), self.schema)


def main(model, files, out):
    scorer = Scorer(model)
    Path(out).mkdir()  # rows would be added to those of another job
    # An actor of one thread for each core. It reserves none: the tasks that read names and write
    # rows need cores now and then, and would wait for one for ever.
    ray.init(runtime_env={"env_vars": {"MLCLASSIFY_NUM_THREADS": "1"}})
    actors = int(ray.cluster_resources()["CPU"])
    photos = ray.data.read_text(files).repartition(4 * actors)
    rows = photos.map_batches(Score, fn_constructor_args=[scorer], batch_size=256,
                              concurrency=actors, num_cpus=0)
    rows.write_parquet(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
