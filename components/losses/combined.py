"""The losses of classification, of attributes or their values, and one loss with the ranking's."""

import torch
from torch import Tensor, nn


def attribute_classification_loss(logits_BN: Tensor, labelled_BN: Tensor) -> Tensor:
    """Returns the binary cross-entropy, mean over images and attributes (AG-MAN Eq. 7), a scalar.

    Branch 1 is asked which attributes an image was labelled for: one in FashionAI (the paper's
    one-hot target), several where a data set labels several.
    """
    return nn.functional.binary_cross_entropy_with_logits(logits_BN.float(), labelled_BN.float())


def value_classification_loss(logits_BKV: Tensor, values_BKV: Tensor) -> Tensor:
    """Returns the cross-entropy of values (FashionSearchNet-v2, Eq. 2), a scalar.

    It is the mean over images and attributes that are labelled, of the batch that one worker has; 0
    (with a gradient of 0) where none is. Of several values that an image has of an attribute, each
    counts the same.
    """
    log_p_BKV = logits_BKV.float().log_softmax(dim=-1)
    num_values_BK = values_BKV.sum(dim=-1)
    loss_BK = -(log_p_BKV * values_BKV).sum(dim=-1) / num_values_BK.clamp(min=1)
    return loss_BK.sum() / (num_values_BK > 0).sum().clamp(min=1)


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


class StagedLoss(nn.Module):
    """FashionSearchNet-v2's losses of its first two stages (section 3 and Eq. 9).

    In the first `classification_epochs` epochs it is L_C alone, from which maps are learned; the
    other losses have a gradient of 0, as data-parallel training wants one of everything. Then it is
    L_C + `ranking_weight` L_T + L_TC. The paper trains 12 epochs of each, and weighs ranking 1.5.
    """

    def __init__(self, *, classification_epochs: int, ranking_weight: float) -> None:
        super().__init__()
        self._classification_epochs = classification_epochs
        self._ranking_weight = ranking_weight
        self._share_of_others = 1.0

    def begin_epoch(self, epoch: int) -> None:
        """Goes to the stage of an epoch, counted from 0."""
        self._share_of_others = float(epoch >= self._classification_epochs)

    def forward(self, of_maps: Tensor, of_branches: Tensor, ranking: Tensor) -> Tensor:
        """Returns the loss of the epoch that was begun, a scalar."""
        return of_maps + self._share_of_others * (self._ranking_weight * ranking + of_branches)
