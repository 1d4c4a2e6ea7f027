#!/usr/bin/env bash
# safetensors: with two keys of metadata or more, the same tensors and metadata are not the same bytes.
#
# safetensors 0.8.0. One tensor is serialised 400 times by one process, with one key of metadata and
# with two.
#
# Guessed before: the header has the keys in the order of the dictionary, or sorted as the tensors
# are, so that a file's hash says whether weights are the same. Seen: the keys come in an order that
# is drawn anew for each file, within a process too. Tensors keep theirs. With a single key, which may
# hold a JSON document, all files are equal.
#
# Output seen:
#   1 key: 1 file
#   2 keys: 2 files
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
from safetensors.numpy import save

tensors = {"weight": np.zeros(2, np.float32)}
found = {}
for metadata in ({"mean": "0.5"}, {"mean": "0.5", "std": "0.5"}):
    files = {save(tensors, metadata) for _ in range(400)}
    found[len(metadata)] = len(files)
    print(f"{len(metadata)} key{'s'[: len(metadata) - 1]}: {len(files)} file{'s'[: len(files) - 1]}")
assert found[1] == 1
if found[2] == 1:
    sys.exit("metadata have an order now")
PYTHON
