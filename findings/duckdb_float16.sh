#!/usr/bin/env bash
# DuckDB reads half-precision numbers from a Parquet file, and refuses them from the Arrow table or the
# polars frame that was read from the same file.
#
# duckdb 2.0.1, pyarrow 25.0.1, polars 2.1.0, numpy 2.4.6.
#
# Guessed before: float16 becomes FLOAT in DuckDB, wherever it comes from, as embeddings in Parquet
# files do. Seen: from the file it does, lists of them too; from memory it is an unsupported type, so
# that a query works until somebody filters the table in Python first.
#
# Output seen:
#   from Parquet: FLOAT, FLOAT[]
#   from Arrow: refused (NotImplementedException)
#   from polars: refused (NotImplementedException)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.1 pyarrow==25.0.1 polars==2.1.0 numpy==2.4.6

cat >"$folder/run.py" <<'PYTHON'
import sys

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

halves = pa.array(np.ones(4, np.float16))
arrow = pa.table({"number": halves, "list": pa.ListArray.from_arrays([0, 1, 2, 3, 4], halves)})
pq.write_table(arrow, sys.argv[1])
frame = pl.read_parquet(sys.argv[1])

(kinds,) = duckdb.sql(f"select typeof(number), typeof(list) from '{sys.argv[1]}' limit 1").fetchall()
print("from Parquet:", ", ".join(kinds))
assert kinds == ("FLOAT", "FLOAT[]")
for name, given in {"Arrow": arrow, "polars": frame}.items():
    try:
        duckdb.sql("select number from given").fetchall()
    except duckdb.NotImplementedException as error:
        print(f"from {name}: refused ({type(error).__name__})")
    else:
        raise AssertionError(f"the behaviour has changed: {name} is read")
PYTHON
"$folder/venv/bin/python" "$folder/run.py" "$folder/halves.parquet"
