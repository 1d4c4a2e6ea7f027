"""The number format that a network computes in, where params leave it to the processor."""

from typing import Literal

import torch


def resolve_precision(
    precision: Literal["auto", "bf16", "fp32"], *, on_gpu: bool
) -> Literal["bf16", "fp32"]:
    """Returns bf16 or fp32: what params name, or what is faster where they say `auto`.

    A processor without instructions for bf16 (AVX2 and older) emulates it, and was measured to
    train fourteen times slower than fp32; every GPU has them.
    """
    if precision != "auto":
        return precision
    return "bf16" if on_gpu or torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"


def has_integer_instructions() -> bool:
    """Returns whether this processor multiplies 8-bit integers faster than numbers in bf16."""
    return torch.cpu._is_vnni_supported()
