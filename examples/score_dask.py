"""Score a list of photos with Dask, into a folder of Parquet files.

    pip install 'mlclassify[parquet]' 'dask[dataframe,distributed]'
    python score_dask.py bears.safetensors list.txt scores                     # on this machine
    python score_dask.py bears.safetensors list.txt scores tcp://there:8786    # on a cluster

The list names a photo a line. The model and the photos lie where all machines see them. Rows have
the columns of `mlclassify score`, in the order of the list.
"""

import os
import sys
from pathlib import Path

import dask.bag
from dask.distributed import Client

from mlclassify.scoring.scorer import Scorer

# A worker process for each core, of one thread. On a cluster say it where workers are started:
# MLCLASSIFY_NUM_THREADS=1 dask worker tcp://there:8786 --nworkers -1 --nthreads 1
os.environ["MLCLASSIFY_NUM_THREADS"] = "1"


def main(model, files, out, address=None):
    scorer, names = Scorer(model), Path(files).read_text().splitlines()
    Path(out).mkdir()  # another job's rows would stay among these
    with Client(address) if address else Client(threads_per_worker=1):
        rows = dask.bag.from_sequence(names, partition_size=1000).map_partitions(scorer)
        kinds = {name: {str: "string", float: "float32"}[kind]
                 for name, kind in scorer.columns.items()}
        rows.to_dataframe(meta=kinds).to_parquet(out, write_index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
