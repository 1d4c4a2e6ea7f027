"""The loss of the attribute classification, and one loss from it and the ranking loss."""

import torch
from torch import Tensor, nn


def attribute_classification_loss(logits_BN: Tensor, labelled_BN: Tensor) -> Tensor:
    """Returns the binary cross-entropy, mean over images and attributes (AG-MAN Eq. 7), a scalar.

    Branch 1 is asked which attributes an image was labelled for: one in FashionAI (the paper's
    one-hot target), several where a data set labels several.
    """
    return nn.functional.binary_cross_entropy_with_logits(logits_BN.float(), labelled_BN.float())


class CombinedLoss(nn.Module):
    """Weighs the attribute classification loss and the ranking loss.

    AG-MAN's Eq. 9, 0.5 e^w0 Lc + w0 + 0.5 e^w1 Lt + w1, has no minimum: both weights run to
    minus infinity. In the authors' code they never reach the optimiser, so that it trains with
    0.5 Lc + 0.5 Lt. Both sound readings are offered:

    - `fixed`: 0.5 Lc + 0.5 Lt, what the authors effectively ran;
    - `uncertainty`: sum of 0.5 e^-s L + 0.5 s with a learned s per loss, starting at 0
      (homoscedastic uncertainty, Kendall et al., CVPR 2018). The two s are parameters of this
      module: they belong to the optimiser and to the checkpoint.
    """

    def __init__(self, *, weighting: str) -> None:
        super().__init__()
        log_variances = torch.zeros(2)
        if weighting == "uncertainty":
            self.log_variances = nn.Parameter(log_variances)
        else:
            self.register_buffer("log_variances", log_variances, persistent=False)

    def forward(self, classification: Tensor, ranking: Tensor) -> Tensor:
        """Returns the combined loss, a scalar."""
        losses = torch.stack([classification, ranking])
        return (0.5 * torch.exp(-self.log_variances) * losses + 0.5 * self.log_variances).sum()
