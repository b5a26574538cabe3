#!/bin/sh
# What ten minutes on a GPU should confirm: that each kernel is its reference path there, what the
# hot programs take beside their estimates, and captions and images a second. Needs no PyTorch.
#
#     sh benchmarks/on_a_gpu.sh            saves to benchmarks/results/
#     sh benchmarks/on_a_gpu.sh --tiny     small and unsaved, to test this script on a processor
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
if [ "${1:-}" = --tiny ]; then
    $python benchmarks/on_device.py --tiny --rounds=1
    $python benchmarks/decode.py --batch=1 --max_len=2 --rounds=1
    $python benchmarks/encode.py --batch=1 --rounds=1
    exit
fi
$python benchmarks/on_device.py --save
$python benchmarks/decode.py --batch=32 --save
$python benchmarks/decode.py --batch=256 --save
$python benchmarks/encode.py --batch=32 --save
