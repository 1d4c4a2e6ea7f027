"""The losses of classification, of attributes or their values, and one loss with the ranking's."""

from collections.abc import Collection, Mapping

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


def value_naming_loss(logits_BL: Tensor, has_BL: Tensor, known_BL: Tensor) -> Tensor:
    """Returns the binary cross-entropy of the values that are known (AHBN, Eq. 1), a scalar.

    Every value is a question of its own: does the image have it? It is the mean over an image's
    known values, 0 where none is known, and then over all images of the batch that one worker has.
    """
    loss_BL = nn.functional.binary_cross_entropy_with_logits(
        logits_BL.float(), has_BL.float(), reduction="none"
    )
    loss_B = (loss_BL * known_BL).sum(dim=1) / known_BL.sum(dim=1).clamp(min=1)
    return loss_B.mean()


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

    def forward(self, ranking: Tensor, others: Mapping[str, Tensor]) -> Tensor:
        """Returns the combined loss, a scalar; the other one is that of classification."""
        (classification,) = others.values()
        losses = torch.stack([classification, ranking])
        return (0.5 * torch.exp(-self.log_variances) * losses + 0.5 * self.log_variances).sum()


class StagedLoss(nn.Module):
    """A weighted sum of losses, of which some come first.

    In the first `classification_epochs` epochs the losses named in `first` count alone; the others
    have a gradient of 0, as data-parallel training wants one of everything. Then all count.

    - FashionSearchNet-v2 (section 3 and Eq. 9): L_C, from which maps are learned, and then L_C +
      `ranking_weight` L_T + L_TC. The paper trains 12 epochs of each, and weighs ranking 1.5.
    - AHBN (section III-E): L_attr and L_lm, each of its own branch, and then L_id + L_attr + L_lm,
      whose `weights` the paper does not give.

    A loss without a weight has the weight 1.
    """

    def __init__(
        self,
        *,
        first: Collection[str],
        classification_epochs: int,
        ranking_weight: float = 1.0,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self._first = frozenset(first)
        self._classification_epochs = classification_epochs
        self._ranking_weight = ranking_weight
        self._weights = dict(weights or {})
        self._share_of_others = 1.0

    def begin_epoch(self, epoch: int) -> None:
        """Goes to the stage of an epoch, counted from 0."""
        self._share_of_others = float(epoch >= self._classification_epochs)

    def forward(self, ranking: Tensor, others: Mapping[str, Tensor]) -> Tensor:
        """Returns the loss of the epoch that was begun, a scalar."""
        first: list[Tensor] = []
        second = [self._ranking_weight * ranking]
        for name, loss in others.items():
            stage = first if name in self._first else second
            stage.append(self._weights.get(name, 1.0) * loss)
        return torch.stack(first).sum() + self._share_of_others * torch.stack(second).sum()
