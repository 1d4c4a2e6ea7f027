#!/usr/bin/env bash
# LanceDB makes a vector column of float16 lists in a pandas frame if the column is called `vector` or
# `embedding`, and leaves any other as lists that cannot be searched; from Arrow the name is nothing.
#
# lancedb 0.40.0, pandas 3.1.1, pyarrow 25.0.1, numpy 2.4.6.
#
# Guessed before: from pandas, where lists are Python objects, float16 never becomes a vector column,
# and search fails; from Arrow it does. Seen: the name decides, and the type changes with it: float16
# in `embedding` is stored as float32, twice the size; in `v` it stays a list of float16.
#
# Output seen:
#   pandas  embedding  fixed_size_list<item: float>[4]    found 2
#   pandas  v          list<item: halffloat>              no vector column
#   arrow   embedding  fixed_size_list<item: halffloat>[4]  found 2
#   arrow   v          fixed_size_list<item: halffloat>[4]  found 2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lancedb==0.40.0 pandas==3.1.1 pyarrow==25.0.1 numpy==2.4.6

cat >"$folder/run.py" <<'PYTHON'
import sys

import lancedb
import numpy as np
import pyarrow as pa

database = lancedb.connect(sys.argv[1])
halves = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(8, np.float16)), 4)
found = {}
for kind in ("pandas", "arrow"):
    for name in ("embedding", "v"):
        data = pa.table({name: halves})
        table = database.create_table(
            f"{kind}_{name}", data.to_pandas() if kind == "pandas" else data
        )
        stored = str(table.schema.field(name).type)
        try:
            result = f"found {len(table.search(np.ones(4, np.float32)).to_list())}"
        except Exception:  # LanceDB has a kind of its own for it
            result = "no vector column"
        found[kind, name] = (stored.split("[")[0].replace("element", "item"), result)
        print(f"{kind:7} {name:10} {stored}  {result}")
assert "float>" in found["pandas", "embedding"][0] and "half" not in found["pandas", "embedding"][0]
assert "half" in found["pandas", "v"][0] and found["pandas", "v"][1] == "no vector column"
assert "half" in found["arrow", "v"][0] and found["arrow", "v"][1] == "found 2"
PYTHON
"$folder/venv/bin/python" "$folder/run.py" "$folder/database"
