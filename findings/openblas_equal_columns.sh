#!/usr/bin/env bash
# OpenBLAS: one row against n copies of one vector gives two different dot products, in float32,
# with the kernels for Haswell and Zen.
#
# numpy 2.4.6, whose wheel for x86-64 brings OpenBLAS 0.3.31 (scipy-openblas). The vectors are all
# equal, the matrices aligned and multiples of the kernel's tile (64 x 256 times 256 x 192), one
# thread. Columns 0 to 7 hold one value, columns 8 and beyond another, in the last bits: equal
# embeddings are not equally similar, so a ranking with ties depends on the order of the gallery.
#
# Guessed before: only the columns left over at the matrix's edge differ, so that padding to a
# multiple of 64 mends it, and the older AVX kernel does the same. Seen: full tiles differ too and
# padding mends nothing; the kernels for Sandy Bridge and Nehalem are exact; so is float64.
#
# Output seen:
#   Haswell      float32: 176 of 192 columns differ from the first; the first that does is 8
#   Haswell      float64: 0 of 192 columns differ from the first
#   Sandybridge  float32: 0 of 192 columns differ from the first
set -euo pipefail
if ! grep -qw avx2 /proc/cpuinfo; then
    echo "skipped: the kernel for Haswell needs a processor with AVX2"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6

cat >"$folder/run.py" <<'PYTHON'
import os
import sys

import numpy as np

assert np.__version__ == "2.4.6"
dtype, expected = np.dtype(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)
queries = rng.standard_normal((64, 256)).astype(dtype)
gallery = np.repeat(rng.standard_normal((1, 256)).astype(dtype), 192, axis=0)
products = queries @ gallery.T
differ = np.flatnonzero((products != products[:, :1]).any(axis=0))
first = f"; the first that does is {differ[0]}" if len(differ) else ""
kernel = os.environ["OPENBLAS_CORETYPE"]
print(f"{kernel:12} {dtype}: {len(differ)} of 192 columns differ from the first{first}")
assert np.allclose(products, products[:, :1], rtol=1e-4)  # last bits, not wrong numbers
assert len(differ) == expected, "the behaviour has changed"
PYTHON

run() {
    OPENBLAS_NUM_THREADS=1 OPENBLAS_CORETYPE=$1 "$folder/venv/bin/python" "$folder/run.py" "$2" "$3"
}
run Haswell float32 176
run Haswell float64 0
run Sandybridge float32 0
