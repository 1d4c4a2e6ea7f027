#!/usr/bin/env bash
# torch.export: take_along_dim with an index that is broadcast fixes a dynamic batch, where gather,
# which gives the same numbers, leaves it dynamic.
#
# torch 2.15.0. Both pick vectors [B, K, D] out of [B, M, D] by an index [B, K]; B and K are declared
# dynamic. The example has two of each.
#
# Guessed before: take_along_dim is a gather after a broadcast, so that both export alike. Seen: the
# broadcast compares sizes, which the tracer takes for a promise that B is 2; the export ends with
# "Constraints violated (B)", and its advice is to make B static. With expand and gather it passes,
# and the graph takes five images.
#
# Output seen:
#   gather: 5 images -> (5, 1, 4)
#   take_along_dim: UserError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch._dynamo.exc import UserError


class Gather(torch.nn.Module):
    def forward(self, vectors, index):
        return vectors.gather(1, index[..., None].expand(-1, -1, vectors.shape[-1]))


class TakeAlongDim(torch.nn.Module):
    def forward(self, vectors, index):
        return torch.take_along_dim(vectors, index[..., None], dim=1)


vectors, index = torch.randn(2, 3, 4), torch.tensor([[0, 2], [1, 1]])
assert torch.equal(Gather()(vectors, index), TakeAlongDim()(vectors, index))
batch, asked = torch.export.Dim("B"), torch.export.Dim("K")
dynamic = ({0: batch}, {0: batch, 1: asked})

graph = torch.export.export(Gather(), (vectors, index), dynamic_shapes=dynamic).module()
five = graph(torch.randn(5, 3, 4), torch.zeros(5, 1, dtype=torch.int64))
print(f"gather: 5 images -> {tuple(five.shape)}")
try:
    torch.export.export(TakeAlongDim(), (vectors, index), dynamic_shapes=dynamic)
except UserError as error:
    print(f"take_along_dim: {type(error).__name__}")
    sys.exit("Constraints violated (B)" not in str(error))
sys.exit("take_along_dim exports with a dynamic batch now")
PYTHON
