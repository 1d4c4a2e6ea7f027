"""Prototypes on disk: a row for every value of every attribute, and the attributes' weights.

Shape letters: V values of an attribute, D embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components import files
from components.attributes import nfc
from components.errors import HemlineError
from components.tables import PROTOTYPES


@dataclass(frozen=True, kw_only=True)
class ValueVectors:
    """The prototypes of an attribute.

    Attributes:
        values: names of its values.
        vectors_VD: unit vectors [V, D]; NaN for a value without a prototype.
        num_images_V: training images that have each [V].
        spread_V: mean cosine distance of those that each was made of [V]; NaN without a prototype.
    """

    values: tuple[str, ...]
    vectors_VD: NDArray[np.float32]
    num_images_V: NDArray[np.int64]
    spread_V: NDArray[np.float32]

    @property
    def missing(self) -> list[str]:
        """The values without a prototype: no training image has them."""
        return [
            value
            for value, vector_D in zip(self.values, self.vectors_VD, strict=True)
            if np.isnan(vector_D).any()
        ]


class Calibration(NamedTuple):
    """How cosines with prototypes become probabilities, see `tags.logits`.

    The lower the temperature, the more certain; the higher the prior, the more the number of
    training images with a value counts, 0 for not at all.
    """

    temperature: float
    prior: float


@dataclass(frozen=True, kw_only=True)
class Prototypes:
    """The prototypes of a trained network, and how much each attribute counts beside the others.

    Attributes:
        attributes: the prototypes by attribute, in the order of the schema, but for an identity:
            single products have none.
        weights: weight of each attribute where the values of several are asked for.
        calibrations: of each attribute, how its cosines become probabilities.
        model: `training.trained.identity` of the network; its vectors go with no other's.
    """

    attributes: Mapping[str, ValueVectors]
    weights: Mapping[str, float]
    calibrations: Mapping[str, Calibration]
    model: str

    def of(self, attribute: str, value: str) -> NDArray[np.float32]:
        """Returns the prototype [D] of a value.

        Raises:
            HemlineError: the attribute or the value is not known, or no training image had it.
        """
        known = self._known(attribute)
        if nfc(value) not in known.values:
            raise HemlineError(
                f"no value {value!r} of {attribute}; its values are {', '.join(known.values)}"
            )
        vector_D = known.vectors_VD[known.values.index(nfc(value))]
        if np.isnan(vector_D).any():
            raise HemlineError(
                f"{attribute}={value} has no prototype: no training image had the value; "
                f"those of {attribute} with one are "
                f"{', '.join(x for x in known.values if x not in known.missing) or 'none'}"
            )
        return vector_D

    @cached_property
    def missing(self) -> dict[str, list[str]]:
        """The values without a prototype, by attribute; attributes with all of theirs left out."""
        return {name: found.missing for name, found in self.attributes.items() if found.missing}

    def _known(self, attribute: str) -> ValueVectors:
        if nfc(attribute) not in self.attributes:
            raise HemlineError(
                f"no prototypes of {attribute!r}; there are those of {', '.join(self.attributes)}"
            )
        return self.attributes[nfc(attribute)]


def no_prototypes(model: str) -> Prototypes:
    """Returns those of a network that knows single products and no other attribute."""
    return Prototypes(attributes={}, weights={}, calibrations={}, model=model)


def write_prototypes(prototypes: Prototypes, path: Path) -> None:
    """Writes prototypes: a row per value; weights and calibrations in the file's metadata."""
    rows = [
        {
            "attribute": attribute,
            "value": value,
            "vector": None if value in found.missing else vector_D,
            "num_images": num_images,
            "spread": None if value in found.missing else spread,
        }
        for attribute, found in prototypes.attributes.items()
        for value, vector_D, num_images, spread in zip(
            found.values, found.vectors_VD, found.num_images_V, found.spread_V, strict=True
        )
    ]
    about = {
        "weights": dict(prototypes.weights),
        "calibrations": {
            name: calibration._asdict() for name, calibration in prototypes.calibrations.items()
        },
        "model": prototypes.model,
    }
    table = pa.Table.from_pylist(rows, schema=PROTOTYPES)
    files.write_table(table, path, schema=PROTOTYPES, about=about)


def read_prototypes_of(path: Path, *, model: Path, identity: str) -> Prototypes:
    """Returns the prototypes in a file, made of the trained model in a folder.

    Raises:
        HemlineError: they are missing or damaged, or another model's.
    """
    found = read_prototypes(path)
    if found.model != identity:
        raise HemlineError(
            f"{path} was made of another model than {model}: `dvc repro prototypes` makes it of "
            "this one"
        )
    return found


def read_prototypes(path: Path) -> Prototypes:
    """Returns the prototypes in a file.

    Raises:
        HemlineError: it is missing or damaged.
    """
    rows = files.read_table(path, schema=PROTOTYPES).to_pylist()
    about = files.read_about(path, schema=PROTOTYPES)
    dim = max((len(row["vector"]) for row in rows if row["vector"]), default=0)
    nowhere = [np.nan] * dim
    of_attribute: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        of_attribute.setdefault(row["attribute"], []).append(row)
    return Prototypes(
        attributes={
            name: ValueVectors(
                values=tuple(row["value"] for row in found),
                vectors_VD=np.array([row["vector"] or nowhere for row in found], np.float32),
                num_images_V=np.array([row["num_images"] for row in found], np.int64),
                spread_V=np.array([row["spread"] for row in found], np.float32),
            )
            for name, found in of_attribute.items()
        },
        weights=about["weights"],
        calibrations={name: Calibration(**x) for name, x in about["calibrations"].items()},
        model=about["model"],
    )
