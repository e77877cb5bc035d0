#!/usr/bin/env bash
#SBATCH --job-name=score
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --requeue
# Score a list of photos with a job array of Slurm, a shard a task; then merge the parts:
#
#   mkdir parts
#   job=$(sbatch --parsable score_slurm.sh bears.safetensors list.txt parts)
#   sbatch --dependency=afterok:$job --wrap 'mlclassify merge parts/*.csv --out scores.csv'
#
# A task that was requeued goes on where it was cut off. All files lie where all machines see them.
set -euo pipefail
model=$1 files=$2 parts=$3

export MLCLASSIFY_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
mlclassify score --model "$model" --files "$files" --resume \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --out "$parts/$SLURM_ARRAY_TASK_ID.csv"
