#!/usr/bin/env bash
# NNCF: post-training quantisation puts 8-bit integers into the division that brings vectors to unit
# length, so that an embedding graph gives vectors that are not of unit length any more.
#
# nncf 3.4.0, openvino 2026.4.1, torch 2.15.0. A small network that ends with
# torch.nn.functional.normalize is exported, converted, and quantised with random images.
#
# Guessed before: what is quantised is what costs time, convolutions and matrix products, and a
# division by a norm stays in floating point. Seen: squares, their sum, its root and the quotient's
# numerator and denominator are each rounded to 8 bits. Lengths of images a little brighter or darker
# than those of calibration differ from 1 by up to 7 %, so that dot products are no cosines. With
# these operations in the ignored scope, lengths are 1 to seven digits.
#
# Output seen:
#   as proposed: lengths 0.997 to 1.068, divisions quantised: True
#   ignored:     lengths 1.000 to 1.000, divisions quantised: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy==2.4.6 openvino==2026.4.1 nncf==3.4.0

"$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import contextlib
import logging
import sys

import nncf
import numpy as np
import openvino
import torch
from torch import nn

logging.getLogger("nncf").setLevel(logging.WARNING)
torch.manual_seed(0)


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.vector = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 64),
        )

    def forward(self, images):
        return nn.functional.normalize(self.vector(images), dim=1)


seen = torch.rand(64, 3, 32, 32)
others = torch.rand(64, 3, 32, 32) * torch.linspace(0.2, 1.5, 64)[:, None, None, None]
batch = ({0: torch.export.Dim("images")},)
exported = torch.export.export(Embedder().eval(), (seen[:2],), dynamic_shapes=batch)
graph = openvino.convert_model(exported)
batches = nncf.Dataset([each.numpy() for each in seen.split(8)])
core = openvino.Core()
found = {}
for name, ignored in (("as proposed", []), ("ignored", ["Power", "ReduceSum", "Maximum", "Divide"])):
    scope = nncf.IgnoredScope(types=ignored, validate=False)
    with contextlib.redirect_stdout(sys.stderr):
        model = nncf.quantize(graph, batches, subset_size=8, ignored_scope=scope)
    readers = {
        reader.get_node().get_type_name()
        for operation in model.get_ops() if operation.get_type_name() == "FakeQuantize"
        for reader in operation.output(0).get_target_inputs()
    }
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    lengths = np.linalg.norm(compiled(others.numpy())[0], axis=1)
    found[name] = np.abs(lengths - 1).max(), "Divide" in readers
    print(f"{name + ':':12} lengths {lengths.min():.3f} to {lengths.max():.3f}, "
          f"divisions quantised: {'Divide' in readers}")
(worst, quantised), (kept, left) = found.values()
if not (worst > 0.01 and quantised and kept < 1e-5 and not left):
    sys.exit("lengths are as they should be now, or are not with these operations ignored")
PYTHON
