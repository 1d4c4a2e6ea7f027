#!/usr/bin/env bash
# torch on a CPU: of a depthwise convolution of 5 x 5, the backward pass in bfloat16 takes twice as
# long as in float32, where everything else takes half as long.
#
# torch 2.15.0, one thread, a processor with AVX-512 bf16 instructions, channels-last. One layer at
# a time, forward and backward, in both types.
#
# Guessed before: as for ResNets, bfloat16 is faster throughout; depthwise convolutions, which are
# bound by memory, gain most. Seen: so it is with 3 x 3, forward and backward, and with 5 x 5
# forward; but 5 x 5 backward is 2 to 4 times as slow. A network with such layers (EfficientNet,
# MobileNetV3) embeds faster in bfloat16 and trains faster in float32.
#
# Output seen:
#   time in bfloat16 over time in float32
#   depthwise 5 x 5  forward 0.50  backward 2.43
#   depthwise 3 x 3  forward 0.45  backward 0.71
#   dense 3 x 3      forward 0.50  backward 0.51
set -euo pipefail
grep -q avx512_bf16 /proc/cpuinfo || { echo "no bf16 instructions here: nothing to see"; exit 0; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import sys
import time

import torch

torch.set_num_threads(1)


def seconds(run):
    run()
    times = []
    for _ in range(5):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def forward_and_backward(dtype, channels, kernel_size, groups):
    convolution = torch.nn.Conv2d(
        channels, channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False
    ).to(dtype=dtype, memory_format=torch.channels_last)
    shape = (48, channels, 12, 12)
    images = torch.randn(shape, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    made = convolution(images)
    slope = torch.randn_like(made)
    inputs = (images, convolution.weight)

    def forward():
        with torch.no_grad():
            convolution(images)

    once = seconds(forward)
    return once, seconds(lambda: torch.autograd.grad(convolution(images), inputs, slope)) - once


print("time in bfloat16 over time in float32")
backward = {}
for name, *shape in (
    ("depthwise 5 x 5", 240, 5, 240),
    ("depthwise 3 x 3", 240, 3, 240),
    ("dense 3 x 3", 128, 3, 1),
):
    pairs = zip(
        forward_and_backward(torch.bfloat16, *shape),
        forward_and_backward(torch.float32, *shape),
        strict=True,
    )
    forward, backward[name] = (half / full for half, full in pairs)
    print(f"{name:16} forward {forward:.2f}  backward {backward[name]:.2f}")

slow = backward.pop("depthwise 5 x 5")
if slow < 1.3 or max(backward.values()) > 1.1:
    sys.exit("this has changed: see the first lines of this script")
PYTHON
