"""Every network, small enough to be compared with loops."""

import torch
from torch import Tensor

from components.models.build import build_model
from components.models.network import EmbeddingNetwork
from components.networks import NETWORK_PARTS

NAMES = tuple(NETWORK_PARTS)
NUM_VALUES = [4, 2, 3, 2, 6]  # of each attribute
NUM_ATTRIBUTES = len(NUM_VALUES)
NUM_LANDMARKS = 3
NUM_HOURGLASSES = 2
EMBEDDING_DIM = 12
THIRD_STAGE_WIDTH = 32
TIMM_WIDTHS = {"timm:mobilenetv3_small_050": 24, "timm:vit_tiny_patch16_224": 192}
ATTRIBUTES_BK = torch.tensor([[4, 0, 2], [1, 3, 3]])


def build(
    name: str,
    *,
    backbone: str = "tiny",
    normalise_features: bool = False,
    embedding_dim: int = EMBEDDING_DIM,
    **parts,
) -> EmbeddingNetwork:
    """Returns a network without pretrained weights."""
    torch.manual_seed(1)
    if name == "ahbn" and parts.get("branches") != "attribute":
        parts = {"num_hourglasses": NUM_HOURGLASSES} | parts
    width = TIMM_WIDTHS.get(backbone, THIRD_STAGE_WIDTH)
    return build_model(
        name=name,
        num_values=NUM_VALUES,
        num_landmarks=NUM_LANDMARKS,
        backbone=backbone,
        weights="none",
        embedding_dim=width if name == "asen_v2" else embedding_dim,
        attention_dim=8,
        bilinear_dim=64,
        landmark_channels=16,
        normalise_features=normalise_features,
        **parts,
    )


def random_images(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Returns the same normally distributed images every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=dtype)
