"""From names and numbers to a network."""

from components.errors import HemlineError
from components.models.ag_man import AGMAN
from components.models.backbones import build_backbone


def build_model(
    *,
    name: str,
    num_attributes: int,
    backbone: str,
    weights: str,
    embedding_dim: int,
    attention_dim: int,
    normalise_features: bool,
) -> AGMAN:
    """Returns the network that params name, its backbone loaded and the rest initialised.

    Raises:
        HemlineError: the name is unknown, or `build_backbone` cannot load the weights.
    """
    if name != "ag_man":
        raise HemlineError(f"model.name: no network {name!r}; allowed: ag_man")
    return AGMAN(
        build_backbone(backbone, weights=weights),
        num_attributes=num_attributes,
        embedding_dim=embedding_dim,
        attention_dim=attention_dim,
        normalise_features=normalise_features,
    )
