"""A network that was grown: attributes that it did not know are read from its backbone's maps.

What it knew stays as it is, to the bit: the network is asked for all attributes of its own,
whichever are wanted, so that the same operations run on the same shapes, and what is wanted is
picked out, never added up. A grown attribute has a linear probe of the backbone's maps, the last of
each size, pooled to a coarse grid: no gradient passes through the network, and the probe can be
fitted in closed form (`training/growth.py`).

Shape letters: B images, K attributes asked of an image, N attributes of the schema, M attributes of
the network that was grown, D embedding, F features, V outputs of a probe, G cells along a side of
the grid, H W of an attention map.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad

from components.errors import HemlineError
from components.models.csn import TripletNetwork
from components.models.network import (
    AttentionNetwork,
    BackboneNetwork,
    EmbeddingNetwork,
    WeightingNetwork,
    unit_length,
)
from components.networks import GROWABLE


class ProbeShape(NamedTuple):
    """G, F and V of a probe."""

    grid_size: int
    num_features: int
    num_outputs: int


def grid_features(pyramid: Sequence[Tensor], grid_size: int) -> Tensor:
    """Returns the means of the cells of a grid on each map, one map after the other [B, F]."""
    return torch.cat([adaptive_avg_pool2d(each, grid_size).flatten(1) for each in pyramid], dim=1)


class LinearProbe(nn.Module):
    """An attribute's vectors as a linear function of the features; zeros fill the embedding."""

    def __init__(self, shape: ProbeShape, embedding_dim: int) -> None:
        super().__init__()
        self.shape = shape
        self.linear = nn.Linear(shape.num_features, shape.num_outputs)
        self._num_zeros = embedding_dim - shape.num_outputs

    def forward(self, features_BF: Tensor) -> Tensor:
        """Returns embeddings [B, D] of unit length."""
        return unit_length(pad(self.linear(features_BF), (0, self._num_zeros)))

    def contributions(self, features_BF: Tensor) -> Tensor:
        """Returns how much each cell of the grid adds to the vector's length [B, G, G].

        The vector is a sum over cells; a cell's share is its summand's projection on the sum.
        """
        direction_BV = unit_length(self.linear(features_BF)).to(self.linear.weight.dtype)
        shares_BF = features_BF * (direction_BV @ self.linear.weight)
        return shares_BF.unflatten(1, (-1, self.shape.grid_size, self.shape.grid_size)).sum(dim=1)


class GrownNetwork(EmbeddingNetwork):
    """A network that answers for the attributes that it knew, and probes for the others.

    `names` are the schema's attributes in order [N]. `known` are those of the network in its own
    order, None for one that was left out for good; `probes` has the shape of the probe of each
    attribute that was grown.
    """

    known_N: Tensor
    everything_1M: Tensor

    def __init__(
        self,
        network: BackboneNetwork,
        *,
        names: Sequence[str],
        known: Sequence[str | None],
        probes: Mapping[str, ProbeShape],
        embedding_dim: int,
    ) -> None:
        super().__init__()
        self.pixel_statistics = network.pixel_statistics
        self.network = network
        self.grown = [number for number, name in enumerate(names) if name not in known]
        self.probes = nn.ModuleList(
            LinearProbe(probes[names[number]], embedding_dim) for number in self.grown
        )
        # something stands in a grown attribute's place, until its probe's is put there
        own = [known.index(name) if name in known else 0 for name in names]
        self.register_buffer("known_N", torch.tensor(own), persistent=False)
        self.register_buffer("everything_1M", torch.arange(len(known))[None], persistent=False)

    def forward(self, images_B3HW: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns embeddings [B, K, D] of unit length."""
        maps, pyramid = self.network.with_pyramid(images_B3HW)
        features = self.network.features_of(maps)
        vectors_BMD = self.network.embed(features, self._everything(attributes_BK))
        return self._wanted(unit_length(vectors_BMD), pyramid, attributes_BK)

    def probes_by_name(self, names: Sequence[str]) -> dict[str, LinearProbe]:
        """Returns the probes of the attributes that were grown; `names` are all attributes."""
        return {names[number]: probe for number, probe in self._probed()}

    def _probed(self) -> list[tuple[int, LinearProbe]]:
        """Returns the grown attributes' numbers in the schema, with their probes."""
        probes = (cast(LinearProbe, probe) for probe in self.probes)
        return list(zip(self.grown, probes, strict=True))

    def _everything(self, attributes_BK: Tensor) -> Tensor:
        """Returns all attributes of the network, to be asked of each image [B, M]."""
        num_images = attributes_BK.shape[0]  # len() would fix it in a graph
        return self.everything_1M.expand(num_images, -1)

    def _picked(self, of_all_BMX: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns what the network gave for the attributes asked [B, K, X]."""
        own_BK1 = self.known_N[attributes_BK][..., None]
        return of_all_BMX.gather(1, own_BK1.expand(-1, -1, of_all_BMX.shape[-1]))

    def _wanted(
        self, embeddings_BMD: Tensor, pyramid: Sequence[Tensor], attributes_BK: Tensor
    ) -> Tensor:
        """Returns the embeddings of the attributes asked [B, K, D]."""
        embeddings_BKD = self._picked(embeddings_BMD, attributes_BK)
        for number, probe in self._probed():
            is_asked_BK1 = (attributes_BK == number)[..., None]
            own_BD = probe(grid_features(pyramid, probe.shape.grid_size))
            embeddings_BKD = torch.where(is_asked_BK1, own_BD[:, None], embeddings_BKD)
        return embeddings_BKD


class GrownAttentionNetwork(GrownNetwork, AttentionNetwork):
    """A grown network that says where in the image it looked, for grown attributes too."""

    network: WeightingNetwork

    def forward_with_maps(
        self, images_B3HW: Tensor, attributes_BK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns what `forward` returns, and the maps that led to it [B, K, H, W].

        Of a grown attribute it is what each cell of the grid adds to the vector's length, the mean
        of the cells that a position meets; a map sums to 1, or to 0 where no cell adds to it.
        """
        maps, pyramid = self.network.with_pyramid(images_B3HW)
        vectors_BMD, attended_BMHW = self.network.embed_with_maps(
            self.network.features_of(maps), self._everything(attributes_BK)
        )
        height, width = attended_BMHW.shape[-2:]
        attended_BKHW = self._picked(attended_BMHW.flatten(2), attributes_BK)
        attended_BKHW = attended_BKHW.unflatten(2, (height, width))
        for number, probe in self._probed():
            features_BF = grid_features(pyramid, probe.shape.grid_size)
            shares_B1GG = probe.contributions(features_BF)[:, None].relu()
            own_B1HW = adaptive_avg_pool2d(shares_B1GG, (height, width))
            total_B111 = own_B1HW.sum(dim=(2, 3), keepdim=True).clamp_min(1e-12)
            is_asked_BK11 = (attributes_BK == number)[..., None, None]
            attended_BKHW = torch.where(is_asked_BK11, own_B1HW / total_B111, attended_BKHW)
        embeddings_BKD = self._wanted(unit_length(vectors_BMD), pyramid, attributes_BK)
        return embeddings_BKD, attended_BKHW


def grown_network(
    network: EmbeddingNetwork,
    *,
    names: Sequence[str],
    known: Sequence[str | None],
    probes: Mapping[str, ProbeShape],
    embedding_dim: int,
) -> GrownNetwork:
    """Returns a network as one that answers for the attributes `names`; see `GrownNetwork`.

    Raises:
        HemlineError: the network is of a kind that cannot be grown.
    """
    network = growable(network, name=type(network).__name__)
    kind = GrownAttentionNetwork if isinstance(network, WeightingNetwork) else GrownNetwork
    return kind(
        network,
        names=names,
        known=known,
        probes=probes,
        embedding_dim=embedding_dim,
    )


def growable(network: EmbeddingNetwork, *, name: str) -> BackboneNetwork:
    """Returns a network that attributes can be added to.

    Raises:
        HemlineError: the network, which `name` names, is of another kind.
    """
    if type(network) is TripletNetwork:
        why = "has one embedding for all attributes, so that there is nothing to grow"
    elif not isinstance(network, BackboneNetwork):
        why = "is built for the values and items of its data set"
    else:
        return network
    raise HemlineError(
        f"{name} {why}: networks that can be grown are {', '.join(GROWABLE)}; `dvc repro` trains "
        "it for all attributes"
    )
