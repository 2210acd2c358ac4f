#!/usr/bin/env bash
# Trains on all GPUs of this machine, or of several machines: then call it on each of them.
#
#   examples/torchrun.sh camvid-8+3 --data data/camvid --out runs/camvid
#   NODES=2 RENDEZVOUS=first-machine:29400 examples/torchrun.sh camvid-8+3 --data data/camvid --out runs/camvid
#
# DEVICES: processes on each machine, by default one a GPU. RENDEZVOUS: HOST:PORT at which the machines find each other.
# RUN: a name that tells runs with the same rendezvous apart. `--out` lies where all machines see it.
set -euo pipefail

exec torchrun --nnodes "${NODES:-1}" --nproc-per-node "${DEVICES:-auto}" \
  --rdzv-backend c10d --rdzv-endpoint "${RENDEZVOUS:-127.0.0.1:0}" --rdzv-id "${RUN:-ignota}" \
  -m ignota run "$@"
