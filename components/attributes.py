"""The attributes of a data set and their values, by name and by position."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from components.errors import HemlineError


def nfc(text: str) -> str:
    """Returns a name in the Unicode form that names are stored and compared in.

    `é` may be one character or two (NFD, as Macs write it), and looks the same.
    """
    return unicodedata.normalize("NFC", text)


LONGEST_NAME = 200
"""Characters of a name as it is written: of 250 in MLflow's metrics, of 255 in a folder's name."""

# MLflow takes letters and digits of all languages and _ . - : blank, splits at slashes, refuses
# what a path would resolve to something else; databases may ignore a blank at the end
_ESCAPED = re.compile(r"[^\w. -]|^ | $|^\.(?=\.*$)|\n")


def metric_part(name: str) -> str:
    """Returns a name as one part of an MLflow metric, such as the last of `test/map/neck_design`.

    What MLflow refuses there is escaped as in a URL, with a colon for the percent sign: no two
    names become one, and `name_of_part` gives the name back.
    """
    return _ESCAPED.sub(lambda found: "".join(f":{x:02X}" for x in found[0].encode()), name)


def name_of_part(part: str) -> str:
    """Returns the name that `metric_part` wrote."""
    return unquote(part.replace(":", "%"))


def too_long(name: str) -> bool:
    """Returns whether a name is too long to be written as a metric, or as a folder's name."""
    return max(len(metric_part(name)), len(quote(name, safe=""))) > LONGEST_NAME


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """An attribute and its values, in the order that tables count them in.

    The values of an *identity* are items: single products, too many to be listed. `num_items` says
    how many numbers they have had, and is None for other attributes; `tables.item_names` has their
    names.
    """

    name: str
    values: tuple[str, ...] = ()
    num_items: int | None = None

    @property
    def is_identity(self) -> bool:
        """Whether its values are items."""
        return self.num_items is not None

    @property
    def num_values(self) -> int:
        """The number of its values."""
        return len(self.values) if self.num_items is None else self.num_items


@dataclass(frozen=True, kw_only=True)
class AttributeSchema:
    """The attributes of a data set; positions in it are what tables store.

    `landmarks` are the names of the points that the data set marks in its images; often none.
    """

    dataset: str
    attributes: tuple[Attribute, ...]
    landmarks: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The attributes' names in order."""
        return [attribute.name for attribute in self.attributes]

    @property
    def num_values(self) -> list[int]:
        """The number of values of each attribute."""
        return [attribute.num_values for attribute in self.attributes]

    @property
    def max_num_values(self) -> int:
        """The largest number of values that an attribute lists."""
        return max(len(attribute.values) for attribute in self.attributes)

    @property
    def num_listed(self) -> list[int]:
        """The number of values that each attribute lists: none of the identity's."""
        return [len(attribute.values) for attribute in self.attributes]

    @property
    def identity(self) -> int | None:
        """The position of the attribute whose values are items; None where there is none."""
        places = [place for place, each in enumerate(self.attributes) if each.is_identity]
        return places[0] if places else None

    @property
    def listed(self) -> list[int]:
        """The positions of the attributes whose values are listed: all but the identity."""
        return [place for place, each in enumerate(self.attributes) if not each.is_identity]

    def index(self, name: str) -> int:
        """Returns the position of an attribute; HemlineError where there is none."""
        if nfc(name) not in self.names:
            raise HemlineError(f"no attribute {name!r}; there are {', '.join(self.names)}")
        return self.names.index(nfc(name))

    def as_dict(self) -> dict[str, Any]:
        """Returns what the schema file holds."""
        attributes = tuple(
            {"name": each.name, "num_items": each.num_items}
            if each.is_identity
            else {"name": each.name, "values": each.values}
            for each in self.attributes
        )
        landmarks = {"landmarks": self.landmarks} if self.landmarks else {}
        return {"dataset": self.dataset, "attributes": attributes, **landmarks}

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> "AttributeSchema":
        """Returns the schema that a schema file holds."""
        attributes = tuple(
            Attribute(
                name=nfc(attribute["name"]),
                values=tuple(map(nfc, attribute.get("values", ()))),
                num_items=attribute.get("num_items"),
            )
            for attribute in raw["attributes"]
        )
        return AttributeSchema(
            dataset=raw["dataset"],
            attributes=attributes,
            landmarks=tuple(raw.get("landmarks", ())),
        )
