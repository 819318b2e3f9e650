#!/bin/sh
# After the array, whatever became of its tasks: one table of all maps; failed and missing ones are named.
#     sbatch --dependency=afterany:JOB gather.sh maps.txt answers
#SBATCH --job-name=cryores-gather
#SBATCH --output=slurm-%j.out
set -eu
exec cryores-lite-gather "$2"/table.*-of-*.jsonl --maps-from "$1" --table "$2/table.csv"
