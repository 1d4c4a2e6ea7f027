"""Networks of timm as a chain of blocks.

Source: Wightman, PyTorch Image Models, an optional dependency. Whether the blocks of a network
follow each other is tried: run one after another on an image, they must end in what timm's own
`forward_features` gives.

Shape letters: B images, H W pixels of the input, C channels of a map.
"""

import difflib
from copy import deepcopy
from itertools import chain
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from components.errors import HemlineError
from components.models.initial_weights import load_initial_weights
from components.networks import PixelStatistics

PREFIX = "timm:"
_PROBE_SIZE_PX = 128  # at least: of 64, some networks' last map is a single position
_PATCH_SIZE_PX = 16
# timm's modules of transformers whose patches keep one size and can be of any number
_TRANSFORMERS = ("deit", "eva", "vision_transformer")


class TokenMap(nn.Module):
    """A vision transformer as one block: the map of its last block's patches.

    They are normalised as the transformer normalises its tokens; one that normalises their mean
    instead, for its classifier, gives them as they are.

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
        # what pools and classifies would never learn, which data-parallel training does not take
        transformer.prune_intermediate_layers(indices=1, prune_norm=False, prune_head=True)
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
        after = [others.pop(name) for name in [*others] if name.startswith("norm.")]
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
    published = timm.models.get_arch_pretrained_cfgs(architecture).items()
    tags = [key.partition(".")[2] for key, config in published if config.has_weights]
    module = timm.models.model_entrypoint(architecture).__module__.rpartition(".")[2]
    sized = {"dynamic_img_size": True} if module in _TRANSFORMERS else {}
    if weights in tags:
        try:
            network = timm.create_model(f"{architecture}.{weights}", pretrained=True, **sized)
        except Exception as error:  # whatever the hub's client raises
            raise HemlineError(
                f"model.weights: timm could not get {architecture}.{weights} ({error}); give the "
                "path of a file"
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

    It is a copy with other weights that is tried: where random weights begin, some blocks change
    nothing, and whether they are left out would not show.
    """
    generator = torch.Generator().manual_seed(0)
    tried = deepcopy(network).eval()
    for parameter in tried.parameters():
        parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    size = (1, 3, _PROBE_SIZE_PX, _PROBE_SIZE_PX)
    image = torch.rand(size, generator=generator)
    reason = "they end in something else than its forward_features"
    try:
        wanted, made = tried.forward_features(image), image
        for number, block in enumerate(_blocks(tried), start=1):
            made = block(made)
            if made.shape == wanted.shape and torch.equal(made, wanted):
                return _blocks(network)[:number]
    except Exception as error:  # a block that takes something else raises nearly anything
        reason = f"{type(error).__name__}: {error}"
    raise HemlineError(
        f"model.backbone: the blocks of timm's {architecture} are no chain that takes images of "
        f"any size ({reason}); choose another convolutional network, or a vision transformer with "
        "patches of 16 pixels"
    )


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Returns the children of a network, and in the place of a plain sequence its own."""
    return [
        block
        for child in network.children()
        for block in (child.children() if type(child) is nn.Sequential else [child])
    ]


def synchronise_norms(network: nn.Module) -> None:
    """Makes each BatchNorm in a network take its statistics over all workers; once is enough.

    timm's BatchNorm may hold an activation, which torch's own conversion drops, and timm's own too
    where a norm was converted before.
    """
    if any(isinstance(module, nn.SyncBatchNorm) for module in network.modules()):
        return
    try:
        from timm.layers import convert_sync_batchnorm  # noqa: PLC0415 - an optional dependency
    except ImportError:
        convert_sync_batchnorm = nn.SyncBatchNorm.convert_sync_batchnorm
    convert_sync_batchnorm(network)


def _timm() -> ModuleType:
    try:
        import timm  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise HemlineError(
            "model.backbone: timm is not installed: pip install 'hemline[timm]'"
        ) from error
    return timm
