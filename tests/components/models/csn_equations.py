"""The triplet network, and CSN on top of it; `paper_equations` says how they are read."""

from collections.abc import Mapping
from typing import Any

from paper_equations import at_every_position, average, linear, masked, normalised, unit_length
from torch import Tensor

from components.models.csn import CSN, TripletNetwork

Parts = Mapping[str, Any]


def features(network: TripletNetwork, image_3HW: Tensor, parts: Parts) -> Tensor:
    """The image's vector before any mask [D]."""
    _, third = network.backbone(image_3HW[None])  # torchvision's own
    last = network.backbone.last_stage(third)[0]
    if parts["normalise_features"]:  # not in the paper
        last = at_every_position(lambda vector: normalised(network.norm, vector), last)
    return linear(network.linear, average(last))


def csn(network: CSN, vector_D: Tensor, attribute: int, parts: Parts) -> Tensor:
    """CSN, section 3 [D], of unit length."""
    return unit_length(masked(vector_D, network.masks.beta, attribute))


def triplet_network(
    network: TripletNetwork, vector_D: Tensor, attribute: int, parts: Parts
) -> Tensor:
    """The image's vector [D], of unit length, whatever the attribute."""
    return unit_length(vector_D)
