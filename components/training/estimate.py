"""What a training would take, without training: sizes from the params, memory from a trial pass."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from components.images.transforms import normalise
from components.models.backbones import backbone_stages
from components.models.network import EmbeddingNetwork

_PROBED = (2, 4)  # images; what autocast keeps of the weights does not grow with them


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes that one worker needs on its device.

    `weights` includes buffers, `optimizer` is two moments of each trainable parameter (Adam),
    `average` the moving average of the weights, `activations` what the forward pass keeps for the
    backward pass, for all images of a step.
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        """All of it; libraries' work space and fragments come on top."""
        return self.weights + self.gradients + self.optimizer + self.average + self.activations


def estimate_memory(
    network: EmbeddingNetwork,
    *,
    num_images: int,
    num_asked: int,
    image_size_px: int,
    bf16: bool,
    averages: bool,
    freezes: bool = False,
) -> Memory:
    """Returns the memory of a training step, from forward passes of a few images on the CPU.

    The step has `num_images` on each worker and asks `num_asked` attributes of an image; `averages`
    says whether a moving average of the weights is kept, `freezes` whether the backbone never
    learns. The network is on the CPU.
    """
    for stage in backbone_stages(network):
        stage.requires_grad_(not freezes)
    trained = sum(parameter.nbytes for parameter in network.parameters() if parameter.requires_grad)
    weights = sum(tensor.nbytes for tensor in [*network.parameters(), *network.buffers()])
    network.train()
    kept = []
    for count in _PROBED:
        pixels = torch.zeros((count, image_size_px, image_size_px, 3), dtype=torch.uint8)
        asked = torch.zeros((count, num_asked), dtype=torch.int64)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            kept.append(_kept_bytes(network, normalise(pixels, network.pixel_statistics), asked))
    per_image = (kept[1] - kept[0]) // (_PROBED[1] - _PROBED[0])
    return Memory(
        weights=weights,
        gradients=trained,
        optimizer=2 * trained,
        average=weights if averages else 0,
        activations=kept[0] + per_image * (num_images - _PROBED[0]),
    )


def _kept_bytes(network: EmbeddingNetwork, images: Tensor, asked: Tensor) -> int:
    """Returns the bytes that a forward pass keeps, parameters not counted."""
    kept = {}
    alive: list[Tensor] = []  # so that no later tensor gets the storage's name of an earlier one
    parameters = {_storage(parameter) for parameter in network.parameters()}

    def note(tensor: Tensor) -> Tensor:
        kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        network.forward_branches(images, asked)
    return sum(size for storage, size in kept.items() if storage not in parameters)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
