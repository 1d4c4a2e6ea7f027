#!/usr/bin/env bash
# Hive folders whose column the files have too: DuckDB takes the type that it guesses from the path,
# polars the file's, and pandas and pyarrow refuse the folder.
#
# pandas 3.1.1, pyarrow 25.0.1, polars 2.1.0, duckdb 2.0.1. A folder `attribute=1` and a folder
# `attribute=neck` each hold one file with a text column `attribute` of the same value, as a writer
# leaves it who wants its files to say by themselves what they are.
#
# Guessed before: pyarrow and pandas cannot unite the number 1 of the path with the text in the file;
# polars and DuckDB take the column of the file, so that `1` is text in both. Seen: DuckDB gives
# BIGINT for the first folder and VARCHAR for the second: the same files, read one by one or together,
# have different types; where the path says `01`, it keeps text. A join on that column depends on
# which attributes there are.
#
# Output seen:
#   attribute=1     pandas: refused  pyarrow: refused  polars: String  duckdb: BIGINT
#   attribute=neck  pandas: refused  pyarrow: string  polars: String  duckdb: VARCHAR
#   attribute=01    pandas: refused  pyarrow: refused  polars: String  duckdb: VARCHAR
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pandas==3.1.1 pyarrow==25.0.1 polars==2.1.0 duckdb==2.0.1

cat >"$folder/run.py" <<'PYTHON'
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

root = Path(sys.argv[1])


def type_of(read):
    try:
        return str(read())
    except Exception:  # each library has its own kinds
        return "refused"


def types(value):
    folder = root / value / f"attribute={value}"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"attribute": [value], "image": [1]}), folder / "part.parquet")
    top = str(folder.parent)
    return {
        "pandas": type_of(lambda: pd.read_parquet(top)["attribute"].dtype),
        "pyarrow": type_of(
            lambda: ds.dataset(top, partitioning="hive").to_table().schema.field("attribute").type
        ),
        "polars": type_of(lambda: pl.read_parquet(top).schema["attribute"]),
        "duckdb": type_of(
            lambda: duckdb.sql(f"select typeof(attribute) from '{top}/**/*.parquet'").fetchall()[0][0]
        ),
    }


found = {value: types(value) for value in ("1", "neck", "01")}
for value, row in found.items():
    print(f"attribute={value:5}", *(f"{name}: {kind} " for name, kind in row.items()))
assert found["1"] == {
    "pandas": "refused",
    "pyarrow": "refused",
    "polars": "String",
    "duckdb": "BIGINT",
}
assert (found["neck"]["polars"], found["neck"]["duckdb"]) == ("String", "VARCHAR")
assert (found["01"]["polars"], found["01"]["duckdb"]) == ("String", "VARCHAR")
PYTHON
"$folder/venv/bin/python" "$folder/run.py" "$folder/data"
