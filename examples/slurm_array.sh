#!/bin/bash
# One augmented folder by a Slurm array: every task makes a part, whoever is last finishes the folder. Data set and
# folder lie on a file system that all nodes see. A task that is killed or preempted is given again (--requeue) and goes
# on with what is not there: an image's file is its mark, so nothing else has to be remembered.
#
#   sbatch --array=0-15 examples/slurm_array.sh Market-1501 runs/market-p0.5
#   sbatch --array=0-15 examples/slurm_array.sh Market-1501 runs/market-tars --format tar
#
# The number of parts is that of the array; a folder may be ended by an array of another size, or by one process.
#SBATCH --job-name=patn-augment
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.log
set -euo pipefail

data=$1 out=$2
shift 2
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
exec patn-augment generate "$data" --ratio 0.5 --out "$out" --resume \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" "$@"
