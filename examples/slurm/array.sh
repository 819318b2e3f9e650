#!/bin/sh
# One task of a job array: its part of a list of maps. submit.py submits it; to submit it yourself:
#     sbatch --array=1-20 --cpus-per-task=2 --mem=4G array.sh maps.txt answers
# A task that was killed, timed out or requeued can be started again: it skips finished maps, and incomplete files never
# appear.
#SBATCH --job-name=cryores
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%A_%a.out
set -eu
# The number of threads follows --cpus-per-task and the part of the list follows the array; Slurm sets both in the
# environment. With `exec`, Slurm's signals reach the program itself.
exec cryores-lite --maps-from "$1" --output-dir "$2" --table "$2/table.jsonl" --shard slurm --quiet
