"""Backbones, torchvision's, timm's and a tiny one, cut where the networks need them.

Shape letters: B images, H W pixels of the input, C channels of a map.
"""

from itertools import chain

import torch
from torch import Tensor, nn
from torchvision import models

from components.errors import HemlineError
from components.models.initial_weights import load_initial_weights
from components.models.timm_backbones import PREFIX, TokenMap, build_timm_blocks
from components.networks import IMAGENET_PIXELS, PixelStatistics

_PROBE_SIZE_PX = 128
_ALEXNET_STAGES = ((0, 5), (5, 10), (10, 13))  # to conv2, conv4, and conv5 with its pooling


class Stage(nn.Sequential):
    """Blocks of a backbone that follow each other; `position` orders the stages of one.

    Networks keep a backbone's stages in different places, or leave one out; `backbone_stages` finds
    those that are left.
    """

    def __init__(self, blocks: list[nn.Module], *, position: int) -> None:
        super().__init__(*blocks)
        self.position = position


class Backbone(nn.Module):
    """A chain of blocks, cut by what they make of an image: stages end where the map is halved.

    Maps of AlexNet and Inception lack a row and a column or two, as layers leave the edges out.

    Attributes:
        mid_channels: channels of the second stage's map, which is [H/8, W/8]; None where there is
            none of twice the third's side, and `forward` returns something else in its place.
        channels: channels of the third stage's map, which is [H/16, W/16].
        last_channels: channels after `last_stage`, whose map is [H/32, W/32]; where there is no
            such stage, those of the third.
        last_stage: from the third stage's map; not run by `forward`.
        pixel_statistics: what its weights were trained with.

    Raises:
        HemlineError: no block ends in a map of [H/16, W/16], or maps are not [C, H, W].
    """

    def __init__(
        self, blocks: list[nn.Module], *, pixel_statistics: PixelStatistics = IMAGENET_PIXELS
    ) -> None:
        super().__init__()
        shapes = _output_shapes(blocks)
        mid, third = (
            sum(shape[-1] > _PROBE_SIZE_PX // next_stride for shape in shapes)
            for next_stride in (16, 32)
        )
        if not third or shapes[third - 1][-1] > _PROBE_SIZE_PX // 16:
            sides = dict.fromkeys(f"1/{_PROBE_SIZE_PX / shape[-1]:g}" for shape in shapes)
            raise HemlineError(
                "model.backbone: networks need a map of 1/16 of the image's side, and this one has "
                f"{', '.join(sides)}: choose another"
            )
        self.to_second_stage = Stage(blocks[:mid], position=0)
        self.third_stage = Stage(blocks[mid:third], position=1)
        self.last_stage: nn.Module = Stage(blocks[third:], position=2)
        last_of_side = {shape[-1]: block for block, shape in enumerate(shapes[:third])}
        self._last_of_side = [*last_of_side.values()]
        is_twice = mid > 0 and shapes[mid - 1][-1] == 2 * shapes[third - 1][-1]
        self.mid_channels = shapes[mid - 1][1] if is_twice else None
        self.channels = shapes[third - 1][1]
        self.last_channels = shapes[-1][1]
        self.pixel_statistics = pixel_statistics

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the maps of the second and the third stage."""
        mid = self.to_second_stage(images_B3HW)
        return mid, self.third_stage(mid)

    def with_pyramid(self, images_B3HW: Tensor) -> tuple[tuple[Tensor, Tensor], list[Tensor]]:
        """Returns what `forward` returns, and the last map of each size, the third stage's last."""
        maps = [images_B3HW]
        for block in chain(self.to_second_stage, self.third_stage):
            maps.append(block(maps[-1]))
        mid, third = maps[len(self.to_second_stage)], maps[-1]
        return (mid, third), [maps[block + 1] for block in self._last_of_side]

    def take_last_stage(self) -> nn.Module:
        """Returns the last stage, which is from then on no part of the backbone."""
        last_stage, self.last_stage = self.last_stage, nn.Identity()
        return last_stage


def backbone_stages(network: nn.Module) -> list[Stage]:
    """Returns the stages of a network's backbone that it kept, from the image on."""
    stages = (module for module in network.modules() if isinstance(module, Stage))
    return sorted(stages, key=lambda stage: stage.position)


def backbone_layers(network: nn.Module) -> list[list[nn.Parameter]]:
    """Returns the parameters of each block of a network's backbone, from the image on.

    A transformer's blocks count one by one; a norm that stands alone belongs to the block before.
    """
    blocks = chain.from_iterable(backbone_stages(network))
    parts = (
        block.layers() if isinstance(block, TokenMap) else [list(block.parameters())]
        for block in blocks
    )
    layers: list[list[nn.Parameter]] = []
    for part in filter(None, chain.from_iterable(parts)):
        if layers and all(parameter.ndim <= 1 for parameter in part):
            layers[-1] += part
        else:
            layers.append(part)
    return layers


@torch.no_grad()
def _output_shapes(blocks: list[nn.Module]) -> list[torch.Size]:
    """Returns the shape of the map after each block, for one square image.

    Raises:
        HemlineError: a map has other dimensions, or its channels elsewhere.
    """
    map_1CHW = torch.zeros(1, 3, _PROBE_SIZE_PX, _PROBE_SIZE_PX)
    shapes = []
    for block in blocks:
        was_training = block.training
        map_1CHW = block.eval()(map_1CHW)  # batch statistics are left alone
        block.train(was_training)
        shapes.append(map_1CHW.shape)
    if any(len(shape) != 4 or shape[2] != shape[3] for shape in shapes):
        raise HemlineError(
            "model.backbone: networks need maps of [channels, height, width], and this one has "
            "others: choose another"
        )
    return shapes


def build_backbone(name: str, *, weights: str) -> Backbone:
    """Returns a network of torchvision or timm, its classifier cut off, or the tiny one.

    Args:
        name: `tiny` (for tests and smoke runs); a network of torchvision from a family whose blocks
            stand one after another (AlexNet, ResNet, ResNeXt, ConvNeXt, EfficientNet V2); or
            `timm:` and the name of one of timm's.
        weights: `none` (random initialisation), the name of a published weight set, such as
            torchvision's `IMAGENET1K_V1` or timm's `a1_in1k` (downloaded once by them), or a file
            as `load_initial_weights` takes it.

    Raises:
        HemlineError: `weights` is no published weight set and no file, or the file is no state
            dict or does not fit; the tiny backbone is asked for weights; timm is not installed or
            does not know the network, or its blocks do not make the maps that are needed.
    """
    if name == "tiny":
        if weights != "none":
            raise HemlineError(
                f"model.weights: the backbone tiny has no pretrained weights (got {weights}); set "
                "model.weights none, or choose another model.backbone"
            )
        return Backbone(_tiny_blocks())
    if name.startswith(PREFIX):
        blocks, statistics = build_timm_blocks(name, weights=weights)
        return Backbone(blocks, pixel_statistics=statistics)
    return Backbone(_torchvision_blocks(name, weights=weights))


def _torchvision_blocks(name: str, *, weights: str) -> list[nn.Module]:
    """Returns the blocks of a classifier of torchvision, in the order an image meets them."""
    published = models.get_model_weights(name).__members__
    try:
        network = models.get_model(name, weights=published.get(weights))
    except (OSError, RuntimeError) as error:  # of urllib; of torch, where the file is damaged
        raise HemlineError(
            f"model.weights: torchvision could not get {weights} ({error}); give the path of a file"
        ) from error
    if weights not in {"none", *published}:
        load_initial_weights(
            network, weights, classifier=("fc.", "classifier."), published=[*published]
        )
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
