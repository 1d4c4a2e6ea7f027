"""Convolutional backbones from torchvision, cut where the attention branches need them.

Shape letters: B images, H W pixels of the input.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

from components.errors import HemlineError


class ResNetBackbone(nn.Module):
    """A torchvision ResNet up to its third stage; the fourth is handed out as `last_stage`.

    Attributes:
        mid_channels: channels of the second stage's map, which is [H/8, W/8].
        channels: channels of the third stage's map, which is [H/16, W/16].
        last_channels: channels after `last_stage`, whose map is [H/32, W/32].
    """

    def __init__(self, resnet: models.ResNet) -> None:
        super().__init__()
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.stage1 = resnet.layer1
        self.stage2 = resnet.layer2
        self.stage3 = resnet.layer3
        self.last_stage = resnet.layer4
        self.last_channels = resnet.fc.in_features
        self.channels = self.last_channels // 2  # a ResNet doubles its width at every stage
        self.mid_channels = self.last_channels // 4

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the maps of the second and the third stage."""
        mid = self.stage2(self.stage1(self.stem(images_B3HW)))
        return mid, self.stage3(mid)


def build_backbone(name: str, *, weights: str) -> ResNetBackbone:
    """Returns a torchvision ResNet as backbone.

    Args:
        name: `resnet18`, `resnet34` or `resnet50`.
        weights: `none` (random initialisation), the name of a torchvision weight set such as
            `IMAGENET1K_V1` (downloaded once by torchvision), or the path of a state dict of the
            whole torchvision network, its classifier included or not.

    Raises:
        HemlineError: `weights` is no published weight set and no file, or the file is no state
            dict or does not fit.
    """
    if weights == "none":
        return ResNetBackbone(models.get_model(name, weights=None))
    published = models.get_model_weights(name).__members__
    if weights in published:
        return ResNetBackbone(models.get_model(name, weights=published[weights]))
    resnet = models.get_model(name, weights=None)
    _load_state_dict(resnet, Path(weights), known=[*published])
    return ResNetBackbone(resnet)


def _load_state_dict(resnet: nn.Module, path: Path, *, known: list[str]) -> None:
    if not path.is_file():
        raise HemlineError(
            f"model.weights: no file {path}, and no published weight set of that name; "
            f"allowed are none, {', '.join(known)} or the path of a state dict"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader raises nearly anything on a file of another kind
        raise HemlineError(
            f"model.weights: {path} is damaged or no state dict; "
            "write one with torch.save(network.state_dict(), path)"
        ) from error
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    try:
        missing, unexpected = resnet.load_state_dict(state, strict=False)
    except RuntimeError as error:  # shapes that differ are raised, whatever `strict` says
        raise HemlineError(f"model.weights: {path} does not fit the backbone: {error}") from error
    missing = [key for key in missing if not key.startswith("fc.")]
    if missing or unexpected:
        raise HemlineError(
            f"model.weights: {path} does not fit the backbone: "
            f"{len(missing)} parameters missing, {len(unexpected)} unknown, "
            f"such as {(missing + unexpected)[0]}"
        )
