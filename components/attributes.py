"""The attributes of a data set and their values, by name and by position."""

import re
import unicodedata
from dataclasses import asdict, dataclass
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
    """An attribute and its values, in the order that tables count them in."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AttributeSchema:
    """The attributes of a data set; positions in it are what tables store."""

    dataset: str
    attributes: tuple[Attribute, ...]

    @property
    def names(self) -> list[str]:
        """The attributes' names in order."""
        return [attribute.name for attribute in self.attributes]

    @property
    def num_values(self) -> list[int]:
        """The number of values of each attribute."""
        return [len(attribute.values) for attribute in self.attributes]

    @property
    def max_num_values(self) -> int:
        """The largest number of values of an attribute."""
        return max(self.num_values)

    def index(self, name: str) -> int:
        """Returns the position of an attribute; HemlineError where there is none."""
        if nfc(name) not in self.names:
            raise HemlineError(f"no attribute {name!r}; there are {', '.join(self.names)}")
        return self.names.index(nfc(name))

    def as_dict(self) -> dict[str, Any]:
        """Returns what the schema file holds."""
        return asdict(self)

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> "AttributeSchema":
        """Returns the schema that a schema file holds."""
        attributes = tuple(
            Attribute(name=nfc(attribute["name"]), values=tuple(map(nfc, attribute["values"])))
            for attribute in raw["attributes"]
        )
        return AttributeSchema(dataset=raw["dataset"], attributes=attributes)
