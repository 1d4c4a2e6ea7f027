"""The attributes of a data set and their values, by name and by position."""

import unicodedata
from dataclasses import asdict, dataclass
from typing import Any

from components.errors import HemlineError


def nfc(text: str) -> str:
    """Returns a name in the Unicode form that names are stored and compared in.

    `é` may be one character or two (NFD, as Macs write it), and looks the same.
    """
    return unicodedata.normalize("NFC", text)


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
    def max_num_values(self) -> int:
        """The largest number of values of an attribute."""
        return max(len(attribute.values) for attribute in self.attributes)

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
