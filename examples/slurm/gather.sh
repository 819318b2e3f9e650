#!/bin/sh
# Merge the tables of all tasks, and list failed and missing maps. It runs after the array, also if tasks failed.
#     sbatch --dependency=afterany:JOB gather.sh maps.txt answers
#SBATCH --job-name=cryores-gather
#SBATCH --output=slurm-%j.out
set -eu
exec cryores-lite-gather "$2"/table.*-of-*.jsonl --maps-from "$1" --table "$2/table.csv"
