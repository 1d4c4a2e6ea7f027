"""Convolutional backbones, torchvision's and a tiny one, cut where the networks need them.

Shape letters: B images, H W pixels of the input.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

from components.errors import HemlineError

_PROBE_SIZE_PX = 64
_ALEXNET_STAGES = ((0, 5), (5, 10), (10, 13))  # to conv2, conv4, and conv5 with its pooling


class Backbone(nn.Module):
    """A chain of blocks, cut by what they make of an image: stages end where the map is halved.

    AlexNet's maps lack a row and a column or two, as its first layers leave the edges out.

    Attributes:
        mid_channels: channels of the second stage's map, which is [H/8, W/8].
        channels: channels of the third stage's map, which is [H/16, W/16].
        last_channels: channels after `last_stage`, whose map is [H/32, W/32].
        last_stage: from the third stage's map; not run by `forward`.
    """

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        shapes = _output_shapes(blocks)
        sides = [shape[-1] for shape in shapes]
        mid, third = (
            max(index for index, side in enumerate(sides) if side > _PROBE_SIZE_PX // next_stride)
            for next_stride in (16, 32)
        )
        self.to_second_stage = nn.Sequential(*blocks[: mid + 1])
        self.third_stage = nn.Sequential(*blocks[mid + 1 : third + 1])
        self.last_stage: nn.Module = nn.Sequential(*blocks[third + 1 :])
        self.mid_channels = shapes[mid][1]
        self.channels = shapes[third][1]
        self.last_channels = shapes[-1][1]

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the maps of the second and the third stage."""
        mid = self.to_second_stage(images_B3HW)
        return mid, self.third_stage(mid)

    def take_last_stage(self) -> nn.Module:
        """Returns the last stage, which is from then on no part of the backbone."""
        last_stage, self.last_stage = self.last_stage, nn.Identity()
        return last_stage


@torch.no_grad()
def _output_shapes(blocks: list[nn.Module]) -> list[torch.Size]:
    """Returns the shape of the map after each block, for one square image."""
    map_1CHW = torch.zeros(1, 3, _PROBE_SIZE_PX, _PROBE_SIZE_PX)
    shapes = []
    for block in blocks:
        was_training = block.training
        map_1CHW = block.eval()(map_1CHW)  # batch statistics are left alone
        block.train(was_training)
        shapes.append(map_1CHW.shape)
    return shapes


def build_backbone(name: str, *, weights: str) -> Backbone:
    """Returns a torchvision network as backbone, its classifier cut off, or the tiny one.

    Args:
        name: `tiny` (for tests and smoke runs), or a network of torchvision from a family whose
            blocks stand one after another (AlexNet, ResNet, ResNeXt, ConvNeXt, EfficientNet V2).
        weights: `none` (random initialisation), the name of a torchvision weight set such as
            `IMAGENET1K_V1` (downloaded once by torchvision), or the path of a state dict of the
            whole torchvision network, its classifier included or not.

    Raises:
        HemlineError: `weights` is no published weight set and no file, or the file is no state
            dict or does not fit; the tiny backbone is asked for weights.
    """
    if name == "tiny":
        if weights != "none":
            raise HemlineError(
                f"model.weights: the backbone tiny has no pretrained weights (got {weights}); set "
                "model.weights none, or choose another model.backbone"
            )
        return Backbone(_tiny_blocks())
    published = models.get_model_weights(name).__members__
    network = models.get_model(name, weights=published.get(weights))
    if weights not in {"none", *published}:
        _load_state_dict(network, Path(weights), known=[*published])
    return Backbone(_blocks(network))


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Returns the blocks of a torchvision classifier in the order in which an image meets them."""
    if isinstance(network, models.ResNet):
        stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        return [stem, network.layer1, network.layer2, network.layer3, network.layer4]
    layers = list(network.get_submodule("features").children())
    if isinstance(network, models.AlexNet):  # a pooling layer begins a stage: the third is conv4's
        return [nn.Sequential(*layers[start:stop]) for start, stop in _ALEXNET_STAGES]
    return layers


def _tiny_blocks() -> list[nn.Module]:
    """Returns a chain of four blocks with 23 k parameters, for tests and smoke runs."""
    return [
        nn.Sequential(
            nn.Conv2d(channels, filters, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        )
        for channels, filters, stride in ((3, 16, 4), (16, 24, 2), (24, 32, 2), (32, 40, 2))
    ]


def _load_state_dict(network: nn.Module, path: Path, *, known: list[str]) -> None:
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
    classifier = ("fc.", "classifier.")
    state = {key: value for key, value in state.items() if not key.startswith(classifier)}
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:  # shapes that differ are raised, whatever `strict` says
        raise HemlineError(f"model.weights: {path} does not fit the backbone: {error}") from error
    missing = [key for key in missing if not key.startswith(classifier)]
    if missing or unexpected:
        raise HemlineError(
            f"model.weights: {path} does not fit the backbone: {len(missing)} parameters missing, "
            f"{len(unexpected)} unknown, such as {(missing + unexpected)[0]}"
        )
