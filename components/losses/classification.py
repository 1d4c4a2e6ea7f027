"""Branch 1's loss: which attributes was an image labelled for?"""

from torch import Tensor, nn


def attribute_classification_loss(logits_BN: Tensor, labelled_BN: Tensor) -> Tensor:
    """Returns the binary cross-entropy, mean over images and attributes (AG-MAN Eq. 7), a scalar.

    Args:
        logits_BN: branch 1's output, one logit per attribute of the schema.
        labelled_BN: bool, the attributes an image has a label of: one in FashionAI (the paper's
            one-hot target), several where a data set labels several.
    """
    return nn.functional.binary_cross_entropy_with_logits(logits_BN.float(), labelled_BN.float())
