#!/usr/bin/env bash
# Score a list of photos on all cores of this machine, with GNU parallel:
#
#   pip install mlclassify; apt-get install parallel
#   score_parallel.sh bears.safetensors list.txt scores.csv [SHARDS]
#
# Run it again after a failure: what is complete stays, what was cut off goes on.
set -euo pipefail
model=$1 files=$2 out=$3 shards=${4:-$(nproc)}

export MLCLASSIFY_NUM_THREADS=1 # a process for each core
mkdir -p "$out.parts"
seq "$shards" | parallel --quote --halt soon,fail=1 mlclassify score --model "$model" \
    --files "$files" --shard "{}/$shards" --out "$out.parts/{}.csv" --resume
mlclassify merge "$out.parts"/*.csv --out "$out"
