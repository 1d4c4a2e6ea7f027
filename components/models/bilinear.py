"""How two maps of one image become one vector: bilinear pooling, compact or full, and simpler ways.

Source: AHBN, section III-C, Eq. 9-11, after Gao et al., Compact Bilinear Pooling, CVPR 2016. The
product of every channel of one map with every channel of the other, mean over positions, has C E
numbers. A count sketch adds them up, with random signs, in d numbers, so that products of two
sketches are, in the mean over signs and places, those of the whole vectors.

Shape letters: B images, C channels of the first map, E of the second, H W positions of both, P = H
W, d numbers of a sketch, F = d // 2 + 1 its frequencies.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class CountSketch(nn.Module):
    """Psi of Eq. 9: every channel is added, with its sign, to one of d numbers.

    Signs and places are drawn once, and are saved with the weights. The paper's algorithm 1 draws
    them at every call: two descriptors of one image would not be alike.
    """

    signs: Tensor
    places: Tensor

    def __init__(self, channels: int, dim: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.dim = dim
        signs = 2.0 * torch.randint(2, (channels,), generator=generator) - 1
        self.register_buffer("signs", signs)
        self.register_buffer("places", torch.randint(dim, (channels,), generator=generator))

    def forward(self, vectors_BPC: Tensor) -> Tensor:
        """Returns the sketches [B, P, d]; of bfloat16 in float32, the type of the signs."""
        signed_BPC = vectors_BPC * self.signs
        sketch_BPd = signed_BPC.new_zeros(*signed_BPC.shape[:2], self.dim)
        return sketch_BPd.index_add(-1, self.places, signed_BPC)


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
    """Eq. 10-11: the sketch of all products, which is the circular convolution of two sketches.

    A Fourier transform makes a convolution a product, and is linear: the mean over positions is
    taken of spectra, and transformed back once.
    """

    def __init__(self, channels: int, others: int, *, dim: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = CountSketch(channels, dim, generator=generator)
        self.second = CountSketch(others, dim, generator=generator)
        self.width = dim

    def forward(self, first_BCHW: Tensor, second_BEHW: Tensor) -> Tensor:
        """Returns the mean over positions of the sketched products [B, d]."""
        first_BPF = torch.fft.rfft(self.first(_vectors(first_BCHW)))
        second_BPF = torch.fft.rfft(self.second(_vectors(second_BEHW)))
        return torch.fft.irfft((first_BPF * second_BPF).mean(dim=1), n=self.width)


class Bilinear(Fusion):
    """All products, one by one: what `CompactBilinear` approximates."""

    def __init__(self, channels: int, others: int) -> None:
        super().__init__()
        self.width = channels * others

    def forward(self, first_BCHW: Tensor, second_BEHW: Tensor) -> Tensor:
        """Returns the mean over positions of the products [B, C E]."""
        first_BPC, second_BPE = _vectors(first_BCHW), _vectors(second_BEHW)
        products_BCE = first_BPC.mT @ second_BPE / first_BPC.shape[1]
        return products_BCE.flatten(1)


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


def _vectors(map_BCHW: Tensor) -> Tensor:
    """Returns the vector at every position of a map [B, P, C]."""
    return map_BCHW.flatten(2).mT
