"""The model card: what somebody who takes a version from the registry must know, as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from components.attributes import AttributeSchema
from components.networks import PixelStatistics
from components.registry.package import Ancestor

_TEMPLATE = Path(__file__).with_name("model_card.md")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a card is made of, all of it recorded by the stages before registration.

    `splits` is the report of the stage `split`, `evaluation` the figures of the stage `evaluate` in
    percent, `crop` is `preprocess.crop`, `pixel_statistics` are those of the network, `ancestors`
    the versions that it was grown from, nearest first; `run_id` is the run that trained it, and
    what follows is as in `provenance.Origin`. `has_integers`: its graph in 8-bit integers goes with
    it.
    """

    model_name: str
    schema: AttributeSchema
    image_size_px: int
    crop: str
    pixel_statistics: PixelStatistics
    ancestors: Sequence[Ancestor]
    splits: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    run_id: str
    commit: str | None
    has_local_changes: bool
    params: Mapping[str, str]
    inputs: Mapping[str, str]
    has_integers: bool = False


def model_card(facts: Facts) -> str:
    """Returns the card."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = lambda value: str(value).replace("|", "\\|")
    measured = facts.evaluation["attributes"]

    def named(section: str, keys: tuple[str, ...]) -> str:
        values = {key: facts.params.get(f"{section}.{key}") for key in keys}
        return ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)

    return environment.from_string(_TEMPLATE.read_text()).render(
        vars(facts),
        named=named,
        items=[row for row in measured.values() if "hit_at_20" in row],
        measured=[*measured.items(), ("all", facts.evaluation)],
        num_values=dict(zip(facts.schema.names, facts.schema.num_values, strict=True)),
        identity=next((one.name for one in facts.schema.attributes if one.is_identity), None),
        not_above_random=[name for name, row in measured.items() if row.get("gain_low", 1) <= 0],
        unmeasured=[name for name in facts.schema.names if name not in measured],
    )
