"""FashionSearchNet-v2's memory of values, and one vector for all attributes of an image.

Source: the paper's section 3.3, Eq. 7. To ask for an image with another value of attribute a, the
memory's vector of that value takes the place of the image's own. Departure: images' vectors are of
unit length. The memory's, which begin as means of them, are shorter.

Shape letters: B images, N attributes of the schema, C values of all attributes, D embedding, R
length of the global vector.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_LONGEST_GLOBAL_VECTOR = 512


class GlobalRepresentation(nn.Module):
    """M, lambda and w_r of Eq. 7. They learn when all else is learned, and are fixed until then.

    Attributes:
        memory: M [C, D], attributes one after another; 0 until `start`.
        importance: lambda [N].
        projection: w_r [N D, R]; the paper does not give R: 512, or N D where that is less.
    """

    def __init__(self, num_values: Sequence[int], embedding_dim: int) -> None:
        super().__init__()
        length = len(num_values) * embedding_dim
        self._num_values = list(num_values)
        self.memory = nn.Parameter(torch.zeros(sum(num_values), embedding_dim))
        self.importance = nn.Parameter(torch.ones(len(num_values)))
        self.projection = nn.Parameter(torch.zeros(length, min(length, _LONGEST_GLOBAL_VECTOR)))
        self.requires_grad_(False)

    @torch.no_grad()
    def start(self, memory_CD: Tensor, *, generator: torch.Generator) -> None:
        """Sets the memory, all attributes alike, and a random projection that turns and cuts off.

        The projection's columns are orthonormal: where R is N D, distances are those of the vectors
        beside one another.
        """
        self.memory.copy_(memory_CD)
        self.importance.fill_(1)
        drawn = torch.empty(self.projection.shape)
        self.projection.copy_(nn.init.orthogonal_(drawn, generator=generator))

    def forward(self, vectors_BND: Tensor) -> Tensor:
        """Returns F, the global vectors of images [B, R], given those of all attributes."""
        weighted_BND = vectors_BND * self.importance[:, None]
        return weighted_BND.flatten(1) @ self.projection

    def manipulated(self, vectors_BND: Tensor, attributes_B: Tensor, rows_B: Tensor) -> Tensor:
        """Returns the vectors with one attribute's replaced by a row of the memory [B, N, D].

        `rows_B` counts values as the memory does: t of Eq. 7 is 1 there, and g = t M that row.
        """
        replaced_BN = nn.functional.one_hot(attributes_B, vectors_BND.shape[1]).bool()
        memory_B1D = nn.functional.embedding(rows_B, self.memory)[:, None]
        return torch.where(replaced_BN[:, :, None], memory_B1D, vectors_BND)

    def prototypes(self) -> list[Tensor] | None:
        """Returns the memory's vectors of each attribute N x [V_a, D]; None before `start`.

        A value without a training image has the vector 0.
        """
        return list(self.memory.split(self._num_values)) if self.memory.any() else None
