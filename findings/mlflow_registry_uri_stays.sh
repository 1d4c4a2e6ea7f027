#!/usr/bin/env bash
# MLflow: `set_registry_uri(None)` does not undo `set_registry_uri(URI)`, as `set_tracking_uri(None)`
# undoes its twin: the address stays in the environment, and programs started later use it.
#
# mlflow-skinny 3.17.2. Both functions write what they are given into an environment variable, for the
# programs that a process starts.
#
# Guessed before: None takes both back, in the process and in its environment. Seen: it does for the
# store of runs. The store of versions stays where it was set last, for this process too, since the
# variable is read again where nothing is set: after a library has set it once, versions go to one
# store and runs to another, without a word.
#
# Output seen:
#   MLFLOW_TRACKING_URI after None: not set
#   MLFLOW_REGISTRY_URI after None: sqlite:///versions.db
#   a program started then asks for versions: sqlite:///versions.db
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mlflow-skinny==3.17.2

cat >"$folder/run.py" <<'PYTHON'
import os
import subprocess
import sys

import mlflow

assert mlflow.__version__ == "3.17.2"
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
    os.environ.pop(name, None)
mlflow.set_tracking_uri("sqlite:///runs.db")
mlflow.set_registry_uri("sqlite:///versions.db")
mlflow.set_tracking_uri(None)
mlflow.set_registry_uri(None)
found = {
    name: os.environ.get(name, "not set") for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
}
for name, value in found.items():
    print(f"{name} after None: {value}")
program = "import mlflow; print(mlflow.get_registry_uri())"
asked = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, check=True
).stdout.strip()
print("a program started then asks for versions:", asked)
assert found == {
    "MLFLOW_TRACKING_URI": "not set",
    "MLFLOW_REGISTRY_URI": "sqlite:///versions.db",
}
assert asked == mlflow.get_registry_uri() == "sqlite:///versions.db"
PYTHON
cd "$folder"
"$folder/venv/bin/python" run.py
