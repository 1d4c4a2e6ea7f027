#!/usr/bin/env bash
# OpenVINO: an average pool of torch with padding and ceil_mode has other numbers at its last row and
# column, though the converted operation says that it rounds as torch does.
#
# openvino 2026.4.1, torch 2.15.0, on a CPU. AvgPool2d(3, stride=2, padding=1, ceil_mode=True), with
# count_include_pad as it is by default, of 4 x 4 ones.
#
# Guessed before: the operation has a rounding_type "ceil_torch" of its own, so that all sizes agree.
# Seen: the last window hangs over the padded picture. torch divides by what of it lies in there (6
# places at the side, 4 in the corner), OpenVINO by the whole kernel, 9: 0.2222 in place of 0.3333.
# There is no warning. Without padding, and with count_include_pad=False, the two agree.
#
# Output seen:
#   rounding_type ceil_torch
#   torch    0.4444 0.6667 0.3333
#   openvino 0.4444 0.6667 0.2222
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 openvino==2026.4.1 numpy==2.4.6 packaging==26.3

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import openvino
import torch

ones = torch.ones(1, 1, 4, 4)


def run(**options):
    pool = torch.nn.AvgPool2d(3, stride=2, ceil_mode=True, **options).eval()
    model = openvino.convert_model(torch.export.export(pool, (ones,)))
    found = openvino.Core().compile_model(model, "CPU")([ones.numpy()])[0]
    (operation,) = [each for each in model.get_ops() if each.get_type_name() == "AvgPool"]
    return operation, pool(ones).numpy()[0, 0], found[0, 0]


operation, by_torch, found = run(padding=1)
print("rounding_type", operation.get_attributes()["rounding_type"])
print("torch   ", *(f"{value:.4f}" for value in by_torch[0]))
print("openvino", *(f"{value:.4f}" for value in found[0]))
for options in ({"padding": 0}, {"padding": 1, "count_include_pad": False}):
    _, expected, agreeing = run(**options)
    assert np.allclose(expected, agreeing), options
if np.allclose(by_torch, found):
    sys.exit("OpenVINO divides as torch does now")
assert np.allclose(found[0, -1], 2 / 9)
PYTHON
