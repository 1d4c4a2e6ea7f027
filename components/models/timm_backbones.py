"""Networks of timm as a chain of blocks.

Source: Wightman, PyTorch Image Models, an optional dependency. Whether the blocks of a network
follow each other is tried: run one after another on an image, they must end in what timm's own
`forward_features` gives.

Shape letters: B images, H W pixels of the input, C channels of a map.
"""

import difflib
from itertools import chain
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from components.errors import HemlineError
from components.models.initial_weights import load_initial_weights
from components.networks import PixelStatistics

PREFIX = "timm:"
_PROBE_SIZE_PX = 64
_PATCH_SIZE_PX = 16
# timm's modules of transformers whose patches keep one size and can be of any number
_TRANSFORMERS = ("deit", "eva", "vision_transformer")


class TokenMap(nn.Module):
    """A vision transformer as one block: the map of its last block's patches, normalised.

    Raises:
        HemlineError: its patches have another size than 16 pixels.
    """

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        size = transformer.patch_embed.patch_size
        if size != (_PATCH_SIZE_PX, _PATCH_SIZE_PX):
            raise HemlineError(
                "model.backbone: the map of a transformer's patches stands for that of 1/16 of the "
                f"image's side, and this one has patches of {size[0]} pixels: choose another"
            )
        self.transformer: Any = transformer

    def forward(self, images_B3HW: Tensor) -> Tensor:
        """Returns a vector for each patch, as a map [B, C, H / patch, W / patch]."""
        (map_BCHW,) = self.transformer.forward_intermediates(
            images_B3HW, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        return map_BCHW

    def layers(self) -> list[list[nn.Parameter]]:
        """Returns the parameters of the patches' embedding, of each block, and of what follows."""
        of_block = [list(block.parameters()) for block in self.transformer.blocks]
        in_blocks = {id(parameter) for parameter in chain.from_iterable(of_block)}
        others = {
            name: parameter
            for name, parameter in self.transformer.named_parameters()
            if id(parameter) not in in_blocks
        }
        after = [others.pop(name) for name in [*others] if name.startswith(("norm.", "fc_norm."))]
        return [list(others.values()), *of_block, after]


def build_timm_blocks(name: str, *, weights: str) -> tuple[list[nn.Module], PixelStatistics]:
    """Returns the blocks of a network of timm, and what its weights were trained with.

    Args:
        name: `timm:` and the network's name, such as `timm:convnext_tiny`.
        weights: `none`, a tag of timm's such as `in12k_ft_in1k`, or a file as
            `load_initial_weights` takes it; a file's pixels are taken to be those of timm's default
            tag of the network.

    Raises:
        HemlineError: timm is not installed or does not know the network, weights cannot be loaded,
            or the blocks do not follow each other.
    """
    timm = _timm()
    architecture = name.removeprefix(PREFIX)
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"; close to it: {', '.join(close)}" if close else ""
        raise HemlineError(f"model.backbone: timm {timm.__version__} has no {architecture}{hint}")
    tags = [key.partition(".")[2] for key in timm.models.get_arch_pretrained_cfgs(architecture)]
    module = timm.models.model_entrypoint(architecture).__module__.rpartition(".")[2]
    sized = {"dynamic_img_size": True} if module in _TRANSFORMERS else {}
    if weights in tags:
        try:
            network = timm.create_model(f"{architecture}.{weights}", pretrained=True, **sized)
        except Exception as error:  # whatever the hub's client raises
            raise HemlineError(
                f"model.weights: timm could not download {architecture}.{weights} ({error}); give "
                "the path of a file"
            ) from error
    else:
        network = timm.create_model(architecture, **sized)
    config = network.pretrained_cfg
    if weights not in ("none", *tags):
        heads = config["classifier"] or ()
        classifier = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
        load_initial_weights(network, weights, classifier=classifier, published=tags)
    statistics = PixelStatistics(mean=tuple(config["mean"]), std=tuple(config["std"]))
    return [TokenMap(network)] if sized else _chain(network, architecture), statistics


@torch.no_grad()
def _chain(network: Any, architecture: str) -> list[nn.Module]:
    """Returns the blocks that make an image into the map that the network pools.

    They are the network's children, and of a plain sequence among them its own. Blocks of random
    weights may begin by changing nothing, so that the map is reached before they are through.
    """
    was_training = network.training
    network.eval()  # batch statistics are left alone
    size = (1, 3, _PROBE_SIZE_PX, _PROBE_SIZE_PX)
    image = torch.rand(size, generator=torch.Generator().manual_seed(0))
    blocks = [*chain.from_iterable(map(_opened, network.children()))]
    num_blocks, reason = 0, "they end in something else than forward_features does"
    try:
        wanted, made = network.forward_features(image), image
        for number, block in enumerate(blocks, start=1):
            made = block(made)
            if made.shape == wanted.shape and torch.equal(made, wanted):
                num_blocks = number
    except Exception as error:  # a block that takes something else raises nearly anything
        reason = f"{type(error).__name__}: {error}"
    network.train(was_training)
    if num_blocks:
        return blocks[:num_blocks]
    raise HemlineError(
        f"model.backbone: timm's {architecture} is no chain of blocks ({reason}); choose another "
        "convolutional network, or a vision transformer with patches of 16 pixels"
    )


def _opened(block: nn.Module) -> list[nn.Module]:
    return [*block.children()] if type(block) is nn.Sequential else [block]


def _timm() -> ModuleType:
    try:
        import timm  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise HemlineError(
            "model.backbone: timm is not installed: pip install 'hemline[timm]'"
        ) from error
    return timm
