"""How two maps of one image become one vector: bilinear pooling, compact or full, and simpler ways.

Source: AHBN, section III-C, Eq. 9-11, after Gao et al., Compact Bilinear Pooling, CVPR 2016. The
product of every channel of one map with every channel of the other, mean over positions, has C E
numbers. A count sketch adds them up, with random signs, in d numbers, so that products of two
sketches are, in the mean over signs and places, those of the whole vectors.

Shape letters: B images, C channels of the first map, E of the second, H W positions of both, P = C
E products, d numbers of a sketch.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class CountSketch(nn.Module):
    """The signs and places of Psi (Eq. 9): every channel is added, with its sign, to one of d.

    They are drawn once, and are saved with the weights. The paper's algorithm 1 draws them at every
    call: two descriptors of one image would not be alike.
    """

    signs: Tensor
    places: Tensor

    def __init__(self, channels: int, dim: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.dim = dim
        signs = 2.0 * torch.randint(2, (channels,), generator=generator) - 1
        self.register_buffer("signs", signs)
        self.register_buffer("places", torch.randint(dim, (channels,), generator=generator))


class Fusion(nn.Module, ABC):
    """Two maps of the same size made one vector.

    Attributes:
        width: length of the vector.
    """

    width: int

    @abstractmethod
    def forward(self, first_BCHW: Tensor, second_BEHW: Tensor) -> Tensor:
        """Returns the mean over positions of what the two make together [B, width]."""


class CompactBilinear(Fusion):
    """Eq. 9-11: every product is added, with its sign, to one of d numbers.

    A product's sign is that of its two channels, multiplied, and its place their places, added up
    modulo d: so the sketch of all products is the circular convolution of two sketches, which the
    paper computes by Fourier transforms at every position. As all of it is linear, and the mean is
    over positions, the mean of the products comes first here, which is the same and takes a
    fortieth of the time (8 x 8 positions, 512 and 64 channels, d 8192).
    """

    def __init__(self, channels: int, others: int, *, dim: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = CountSketch(channels, dim, generator=generator)
        self.second = CountSketch(others, dim, generator=generator)
        self.width = dim

    def forward(self, first_BCHW: Tensor, second_BEHW: Tensor) -> Tensor:
        """Returns the mean over positions of the sketched products [B, d]."""
        first_BCHW = first_BCHW * self.first.signs[:, None, None]
        second_BEHW = second_BEHW * self.second.signs[:, None, None]
        products_BP = mean_products(first_BCHW, second_BEHW).flatten(1)
        places_CE = (self.first.places[:, None] + self.second.places) % self.width
        sketch_Bd = products_BP.new_zeros(products_BP.shape[0], self.width)
        return sketch_Bd.scatter_add(1, places_CE.flatten().expand_as(products_BP), products_BP)


class Bilinear(Fusion):
    """All products, one by one: what `CompactBilinear` approximates."""

    def __init__(self, channels: int, others: int) -> None:
        super().__init__()
        self.width = channels * others

    def forward(self, first_BCHW: Tensor, second_BEHW: Tensor) -> Tensor:
        """Returns the mean over positions of the products [B, C E]."""
        return mean_products(first_BCHW, second_BEHW).flatten(1)


class Concatenation(Fusion):
    """One beside the other."""

    def __init__(self, channels: int, others: int) -> None:
        super().__init__()
        self.width = channels + others

    def forward(self, first_BCHW: Tensor, second_BEHW: Tensor) -> Tensor:
        """Returns the mean over positions of both [B, C + E]."""
        return torch.cat([first_BCHW.mean(dim=(2, 3)), second_BEHW.mean(dim=(2, 3))], dim=1)


class ChannelWise(Fusion):
    """The product or the sum of channels that a 1x1 convolution of the second map makes as many.

    The paper does not say how it makes them equal.
    """

    def __init__(self, channels: int, others: int, *, multiplies: bool) -> None:
        super().__init__()
        self.project = nn.Conv2d(others, channels, kernel_size=1)
        self._multiplies = multiplies
        self.width = channels

    def forward(self, first_BCHW: Tensor, second_BEHW: Tensor) -> Tensor:
        """Returns the mean over positions of products or sums [B, C]."""
        second_BCHW = self.project(second_BEHW)
        fused = first_BCHW * second_BCHW if self._multiplies else first_BCHW + second_BCHW
        return fused.mean(dim=(2, 3))


def mean_products(first_BCHW: Tensor, second_BEHW: Tensor) -> Tensor:
    """Returns the products of every two channels, mean over positions [B, C, E]."""
    first, second = first_BCHW.flatten(2), second_BEHW.flatten(2)
    return first @ second.mT / first.shape[2]
