#!/usr/bin/env bash
# numpy on AMD's Zen 4: sorting numbers of 32 bits with AVX-512 takes some three times as long as
# with AVX2, and numpy takes AVX-512 where there is any.
#
# numpy 2.4.6, one thread, rows of 300 and of 6,000 numbers. Its sorts move what is below and above
# a pivot by an instruction (compress to memory) that is very slow on these processors; rows of at
# most 512 numbers need no pivot.
#
# Guessed before: the sort with AVX-512 is the fastest there is, as on Intel's processors and for
# short rows, so a search for something better than sorting is worth its code. Seen: with
# NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL" the long rows take a quarter to a third of the time.
# The variable is read when numpy is imported, and changes the last bits of some functions as well.
#
# Output seen:
#   rows of   300: AVX2 takes 1.50 of AVX-512's time
#   rows of 6,000: AVX2 takes 0.29 of AVX-512's time
set -euo pipefail
if ! grep -q AuthenticAMD /proc/cpuinfo || ! grep -Eq '^cpu family\s*: 25$' /proc/cpuinfo ||
    ! grep -qw avx512f /proc/cpuinfo; then
    echo "skipped: this processor is no Zen 4"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6

cat >"$folder/run.py" <<'PYTHON'
import sys
import time

import numpy as np

length = int(sys.argv[1])
rows = np.random.default_rng(0).standard_normal((400_000 // length, length), dtype=np.float32)
times = []
for _ in range(15):
    copied = rows.copy()
    start = time.thread_time()
    copied.sort(axis=1)
    times.append(time.thread_time() - start)
print(min(times))
PYTHON

run() { "$folder/venv/bin/python" "$folder/run.py" "$1"; }
for length in 300 6000; do
    avx512=$(run "$length")
    avx2=$(NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL" run "$length")
    python3 - "$length" "$avx2" "$avx512" <<'PYTHON'
import sys

length, ratio = int(sys.argv[1]), float(sys.argv[2]) / float(sys.argv[3])
print(f"rows of {length:5,}: AVX2 takes {ratio:.2f} of AVX-512's time")
assert length < 512 or ratio < 0.6, "the behaviour has changed"
PYTHON
done
