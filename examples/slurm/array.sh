#!/bin/sh
# One task of a job array: its share of a list of maps. Submitted by submit.py, or by hand:
#     sbatch --array=1-20 --cpus-per-task=2 --mem=4G array.sh maps.txt answers
# Killed, timed out or requeued, it may be started again: finished maps are skipped, half-written files are never left.
#SBATCH --job-name=cryores
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%A_%a.out
set -eu
# Threads are those of --cpus-per-task, the part of the list is that of the array's numbers, both from the environment.
# `exec`: Slurm's signals reach the program itself.
exec cryores-lite --maps-from "$1" --output-dir "$2" --table "$2/table.jsonl" --shard slurm --quiet
