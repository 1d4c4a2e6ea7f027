#!/usr/bin/env bash
# torch.export: a saved program holds the paths and lines of the code that exported it, and the name
# of its own file, so that equal weights and equal code give files with different SHA-256.
#
# torch 2.15.0, CPU. A module is exported and saved twice under two names; then the same source file
# is copied to another folder and exported from there.
#
# Guessed before: a saved program is weights and a graph, so that its SHA-256 can name a model whose
# code was only moved; what differs, if anything, is a random id. Seen: nothing is random. Members
# lie in a folder with the name that the file was saved under; `models/model.json` has a
# `stack_trace` for each node with the absolute path of the module's source; and
# `.data/serialization_id` is a hash of all that. Whoever gets the file learns where it was made.
#
# Output seen:
#   under another name: the same members in a folder again/ and not first/
#   source paths in the graph: some
#   the same code in another folder differs in: .data/serialization_id models/model.json
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy==2.4.6

mkdir "$folder/here" "$folder/there"
cat >"$folder/here/network.py" <<'PYTHON'
import torch


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x).relu()
PYTHON
cp "$folder/here/network.py" "$folder/there/"
cat >"$folder/save.py" <<'PYTHON'
import sys

import torch

sys.path.insert(0, sys.argv[1])
from network import Network

program = torch.export.export(Network().eval(), (torch.zeros(1, 4),))
for name in sys.argv[2:]:
    torch.export.save(program, name)
PYTHON
cat >"$folder/compare.py" <<'PYTHON'
import sys
import zipfile

import torch

assert torch.__version__.startswith("2.15.0")


def read(name):
    """Returns the archive's folder, and its members' bytes by their names below it."""
    with zipfile.ZipFile(name) as archive:
        names = archive.namelist()
        (top,) = {each.partition("/")[0] for each in names}
        return top, {each.partition("/")[2]: archive.read(each) for each in names}


(top, first), (other, again), (_, moved) = map(read, sys.argv[2:])
assert first == again
print(f"under another name: the same members in a folder {other}/ and not {top}/")
assert (top, other) == ("first", "again")
paths = first["models/model.json"].count(sys.argv[1].encode())
print("source paths in the graph:", "some" if paths else "none")
assert paths
differ = sorted(name for name in first if first[name] != moved.get(name))
print("the same code in another folder differs in:", *differ)
assert differ == [".data/serialization_id", "models/model.json"]
PYTHON
python="$folder/venv/bin/python"
"$python" "$folder/save.py" "$folder/here" "$folder/first.pt2" "$folder/again.pt2"
"$python" "$folder/save.py" "$folder/there" "$folder/moved.pt2"
"$python" "$folder/compare.py" "$folder/here" "$folder"/{first,again,moved}.pt2
