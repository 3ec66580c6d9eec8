#!/usr/bin/env bash
# Measure this machine's NVIDIA GPU: see gpu.py. Nothing is installed or fetched; PYTHON names the interpreter that has torch and triton.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
exec timeout 480 "${PYTHON:-python3}" benchmarks/gpu.py "$@"
