"""What the papers' equations are made of, one position and one vector at a time.

The slow readings that the fast modules are compared with stand beside this file, one for each
paper. Their functions take the module whose weights they use, one image and one attribute,
materialise the attended map, and are differentiable. Batch normalisation is that of evaluation.
Shape letters: C channels, H W positions, E and D widths of attribute and embedding.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from components.models import attention


def positions(map_CHW: Tensor) -> list[tuple[int, int]]:
    """Returns row and column of every position, row by row."""
    return list(itertools.product(range(map_CHW.shape[1]), range(map_CHW.shape[2])))


def vectors(map_CHW: Tensor) -> list[Tensor]:
    """Returns the vector [C] at every position, row by row."""
    return [map_CHW[:, y, x] for y, x in positions(map_CHW)]


def from_vectors(vectors_at: list[Tensor], like_CHW: Tensor) -> Tensor:
    """Returns the map [D, H, W] of vectors [D] given row by row."""
    return torch.stack(vectors_at, dim=1).view(-1, *like_CHW.shape[1:])


def at_every_position(function: Callable[[Tensor], Tensor], map_CHW: Tensor) -> Tensor:
    """Returns the map [D, H, W] of what a function from [C] to [D] makes of every position."""
    return from_vectors([function(vector) for vector in vectors(map_CHW)], map_CHW)


def average(map_CHW: Tensor) -> Tensor:
    """Global average pooling [C]."""
    return sum(vectors(map_CHW)) / len(positions(map_CHW))


def linear(layer: nn.Linear | nn.Conv2d, vector: Tensor) -> Tensor:
    """A linear layer, or a 1x1 convolution at one position."""
    return layer.weight.flatten(1) @ vector + layer.bias


def normalised(norm: nn.BatchNorm2d, vector: Tensor) -> Tensor:
    """Batch normalisation at one position, of evaluation."""
    centred = (vector - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
    return centred * norm.weight + norm.bias


def softmax(scores: list[Tensor]) -> list[Tensor]:
    """The share of each score's exponential."""
    exponentials = [torch.exp(score) for score in scores]
    return [exponential / sum(exponentials) for exponential in exponentials]


def one_hot(attribute: int, num_attributes: int) -> Tensor:
    """The papers' a [N]."""
    a = torch.zeros(num_attributes, dtype=torch.float64)
    a[attribute] = 1
    return a


def embedded(embedding: nn.Embedding, attribute: int) -> Tensor:
    """W a, W the transposed table of embeddings."""
    return embedding.weight.T @ one_hot(attribute, embedding.num_embeddings)


def transformed(encoder: attention.AttributeEncoder, attribute: int) -> Tensor:
    """W a where W is an embedding followed by an FC layer."""
    return linear(encoder.linear, embedded(encoder.embedding, attribute))


def masked(vector_D: Tensor, beta_ND: Tensor, attribute: int) -> Tensor:
    """CSN, section 3, and AG-MLAN, section 3.4: m = ReLU(beta), times m[:, a]."""
    mask_DN = torch.maximum(beta_ND.T, torch.zeros(()))
    return vector_D * mask_DN[:, attribute]


def unit_length(vector_D: Tensor) -> Tensor:
    """The vector, divided by its Euclidean length."""
    return vector_D / torch.sqrt((vector_D**2).sum())
