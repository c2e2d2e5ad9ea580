#!/usr/bin/env bash
# An array of 16 tasks, a shard each, and then:
#
#	sbatch --wait examples/jobs/slurm.sh --model fashion --count 50000 --seed 0 --labels &&
#		tokencache merge parts --out samples.npz
#
# What follows the script are flags of generate, the same for all tasks. A task that failed or was
# preempted is sent again by itself (SHARDS=16 sbatch --array=7 ...): shards that are there stay.
#SBATCH --job-name=tokencache
#SBATCH --array=0-15
#SBATCH --cpus-per-task=8
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail

# Nodes of different kinds make the same bits only at the same CPU level.
export TOKENCACHE_CPU=${TOKENCACHE_CPU:-avx2}

# A second sbatch of one task alone does not know how many tasks there were: SHARDS says so.
shards=${SHARDS:-${SLURM_ARRAY_TASK_COUNT:?start this with sbatch}}
exec tokencache generate "$@" --threads "${SLURM_CPUS_PER_TASK:-1}" \
	--shard-index "$SLURM_ARRAY_TASK_ID/$shards" --out "${PARTS:-parts}"
