"""The model card: what somebody who takes a version from the registry must know, as Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.attributes import AttributeSchema

_ARCHITECTURE = ("name", "backbone", "weights", "embedding_dim")
_TRAINING = ("objective", "optimizer", "learning_rate", "precision", "seed")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a card is made of, all of it recorded by the stages before.

    Attributes:
        model_name: in the registry.
        schema: attributes that the network knows.
        image_size_px: side of the pixels that it sees.
        splits: the report of the stage `split`.
        evaluation: the figures of the stage `evaluate`, in percent.
        run_id: id of the run that trained the network.
        commit: commit of its code; None outside of a git repository.
        has_local_changes: whether the code differed from the commit.
        params: params of the run, by `section.key`.
        inputs: DVC's content hashes of what training read, by path.
    """

    model_name: str
    schema: AttributeSchema
    image_size_px: int
    splits: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    run_id: str
    commit: str | None
    has_local_changes: bool
    params: Mapping[str, str]
    inputs: Mapping[str, str]


def model_card(facts: Facts) -> str:
    """Returns the card."""
    sections = {
        "Intended use": _intended_use(facts),
        "How to load": _how_to_load(facts),
        "Data and split": _data(facts),
        "Measured on the test split": _measured(facts),
        "Limits": _limits(facts),
        "Lineage": _lineage(facts),
    }
    parts = [f"# {facts.model_name}", _summary(facts)]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def _summary(facts: Facts) -> str:
    number = facts.evaluation.get("num_parameters")
    size = f", {number / 1e6:.1f} million parameters" if number else ""
    return (
        "Embeds an image of a garment once for each attribute, so that images with the same value "
        f"of the attribute lie close together.\n\nNetwork: {_listed(facts, 'model', _ARCHITECTURE)}"
        f"{size}. Training: {_listed(facts, 'train', _TRAINING)}."
    )


def _intended_use(facts: Facts) -> str:
    return (
        "Finding items that share an attribute's value with a query, and grouping items by it, in "
        "pictures like those it was trained on. The similarity of two items in an attribute is the "
        "dot product of their embeddings for it. It ranks items; it names no value and gives no "
        "probability. It is not made for telling anything about the people in the pictures."
    )


def _how_to_load(facts: Facts) -> str:
    first = facts.schema.names[0]
    return (
        "```python\nimport mlflow, pandas as pd\n\n"
        f'model = mlflow.pyfunc.load_model("models:/{facts.model_name}@champion")\n'
        f'model.predict(pd.DataFrame({{"image": ["a.jpg"], "attribute": ["{first}"]}}))\n```\n\n'
        "`image`: bytes of a file, their base64 text, or a path. `attribute`: one of those below; "
        "left out or null, all of them. Out come `attribute` and `embedding`, of unit length. "
        "`params={'on_error': 'null'}` gives rows that cannot be embedded null. The version's "
        "requirements.txt lists what to install."
    )


def _data(facts: Facts) -> str:
    rows = [
        (split, role, counts["num_images"], counts["num_labels"])
        for split, roles in facts.splits["splits"].items()
        for role, counts in roles.items()
    ]
    root = facts.params.get("data.root")
    source = f" `{root}`, read as" if root else ""
    return f"Data:{source} {facts.schema.dataset}. Split: {facts.splits['method']}.\n\n" + _table(
        ("split", "role", "images", "labels"), rows
    )


def _measured(facts: Facts) -> str:
    every = {**facts.evaluation["attributes"], "all": facts.evaluation}
    num_values = {one.name: len(one.values) for one in facts.schema.attributes}
    rows = [
        (
            name,
            num_values.get(name, ""),
            row["num_queries"],
            f"{row['map']:.2f}",
            f"{row['map_low']:.2f} to {row['map_high']:.2f}",
            f"{row['random_map']:.2f}",
        )
        for name, row in every.items()
    ]
    columns = ("attribute", "values", "queries", "MAP", "95 % interval", "random ranking")
    return (
        "Mean average precision in percent; the interval is a bootstrap over the queries.\n\n"
        f"{_table(columns, rows)}\n\nTriplets in the right order: "
        f"{facts.evaluation['triplet_accuracy']:.2f} %."
    )


def _limits(facts: Facts) -> str:
    known = facts.evaluation["attributes"]
    unmeasured = [name for name in facts.schema.names if name not in known]
    leaks = {kind: found["num_images"] for kind, found in facts.splits["leaks"].items()}
    limits = [
        "It knows the attributes above and no others, and only values that it was trained on.",
        f"It sees the centre square of a picture at {facts.image_size_px} px: smaller details and "
        "what lies outside are lost.",
        "Pictures unlike the training data's (other garments, poses, cameras) were not measured.",
        "Embeddings of two versions are not comparable.",
        "Images that lie in two splits, or are alike across them: "
        + ", ".join(f"{kind} {number}" for kind, number in leaks.items())
        + ".",
    ]
    if unmeasured:
        limits.append(f"Not measured, for want of test queries: {', '.join(unmeasured)}.")
    return "\n".join(f"- {limit}" for limit in limits)


def _lineage(facts: Facts) -> str:
    commit = facts.commit or "not in a git repository"
    changed = ", with local changes" if facts.has_local_changes else ""
    inputs = [(f"DVC hash of {path}", content) for path, content in sorted(facts.inputs.items())]
    rows = [("MLflow run", facts.run_id), ("git commit", f"{commit}{changed}"), *inputs]
    return _table(("what", "which"), rows)


def _listed(facts: Facts, section: str, keys: tuple[str, ...]) -> str:
    named = {key: facts.params.get(f"{section}.{key}") for key in keys}
    return ", ".join(f"{key} {value}" for key, value in named.items() if value is not None)


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")
