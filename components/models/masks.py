"""A mask over the embedding for every attribute.

Source: Conditional Similarity Networks (Veit et al., CVPR 2017), section 3; AG-MLAN, section 3.4.
"""

import torch
from torch import Tensor, nn

_ELSEWHERE = 0.1  # where a learned mask starts outside its attribute's own block


class AttributeMasks(nn.Module):
    """m_a = ReLU(beta_a), multiplied with the vectors of attribute a; beta is [N, D].

    Each attribute owns a block of D / N dimensions. Fixed masks are 1 there and 0 elsewhere;
    learned ones start at 1 there and at 0.1 elsewhere, as in AG-MLAN's code (CSN's draws
    N(0.9, 0.7)).
    """

    def __init__(self, num_attributes: int, embedding_dim: int, *, masks: str) -> None:
        super().__init__()
        owner_D = torch.arange(embedding_dim) * num_attributes // embedding_dim
        own_ND = nn.functional.one_hot(owner_D, num_attributes).T.contiguous().float()
        if masks == "learned":
            self.beta = nn.Parameter(own_ND.clamp(min=_ELSEWHERE))
        else:
            self.register_buffer("beta", own_ND)

    def forward(self, vectors_BKD: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns the masked vectors [B, K, D]."""
        return vectors_BKD * nn.functional.embedding(attributes_BK, self.beta).relu()
