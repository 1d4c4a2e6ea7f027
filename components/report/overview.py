"""The parts of a report that are about the whole model: what it is, its scores, its training."""

from collections.abc import Mapping
from typing import Any

from components.attributes import AttributeSchema
from components.evaluation.evaluation import held_out_images
from components.evaluation.figures import gain_text, hits_text, item_row, landmarks_text
from components.figures.charts import learning_svg, quality_svg
from components.provenance.origin import Champion
from components.report.content import Figure, Measured, Table
from components.report.papers import ALL, PaperScores
from components.report.words import (
    network_in_words,
    network_name,
    recipe_in_words,
    split_in_words,
)

_LOSSES = ("loss", "ranking_loss", "classification_loss", "landmark_loss")

# title of a column → what it holds, and how that is written
_COLUMNS = {
    "P@1": ("precision_at_1", ".1f"),
    "P@10": ("precision_at_10", ".1f"),
    "queries": ("num_queries", ",d"),
    "gallery": ("num_gallery", ",d"),
}
_ATTENTION_COLUMNS = {
    "attention in region": ("attention_in_region", ".1f"),
    "region's area": ("region_share", ".1f"),
}
_BOX_COLUMNS = {
    "IoU of box and region": ("box_iou", ".1f"),
    "region in box": ("region_in_box", ".1f"),
    "box's area": ("box_share", ".1f"),
}


def facts_of(measured: Measured) -> list[tuple[str, str]]:
    """Returns what was measured and where it comes from."""
    figures, origin = measured.figures, measured.origin
    params = origin.params
    counts = {
        split: len(held_out_images(measured.splits, split)) for split in ("train", "valid", "test")
    }
    commit = origin.commit or "not known: the code was not in a git repository"
    if origin.has_local_changes:
        commit += ", with local changes"
    items, marks = item_row(figures), figures.get("landmarks")
    return [
        (
            "overall MAP",
            f"{figures['map']:.2f} (95 % interval {figures['map_low']:.1f} to "
            f"{figures['map_high']:.1f}), a random ranking {figures['random_map']:.2f}",
        ),
        (
            "overall gain",
            f"{gain_text(figures)} % of the way from a random ranking to a perfect one",
        ),
        *([("items found", hits_text(items))] if items else []),
        *([("landmarks found", landmarks_text(marks))] if marks else []),
        ("triplets in order", f"{figures['triplet_accuracy']:.2f} %"),
        (
            "data set",
            f"{measured.schema.dataset}: {measured.num_catalog_images:,} images, "
            f"{_attributes_text(measured.schema)}"
            + (f"; read from {params['data.root']}" if "data.root" in params else ""),
        ),
        (
            "split",
            f"{counts['train']:,} images to train, {counts['valid']:,} to validate and "
            f"{counts['test']:,} to test"
            + (f", {method}" if (method := split_in_words(params)) else "")
            + f"; {figures['num_queries']:,} test queries",
        ),
        (
            "network",
            network_in_words(measured.network, num_parameters=figures["num_parameters"]),
        ),
        ("recipe", recipe_in_words(params, image_size_px=measured.store.image_size_px)),
        ("MLflow run", origin.run_id),
        ("commit", commit),
    ]


def _attributes_text(schema: AttributeSchema) -> str:
    values = [len(schema.attributes[place].values) for place in schema.listed]
    texts = [f"{len(values)} attributes with {sum(values)} values"] if values else []
    if schema.identity is not None:
        texts.append(f"{schema.num_values[schema.identity]:,} items")
    return " and ".join(texts)


def champion_reason(measured: Measured, *, splits: str) -> str:
    """Returns why the champion is not beside the model; empty where it is.

    The splits are compared by their content; their path is the one that DVC knows.
    """
    champion, origin = measured.champion, measured.origin
    if champion is None:
        return "the registry has no champion"
    if champion.origin.run_id == origin.run_id:
        return f"this model is the champion, version {champion.version}"
    if champion.evaluation is None:
        return f"the run of the champion, version {champion.version}, holds no evaluation"
    ours, theirs = (x.inputs.get(splits) for x in (origin, champion.origin))
    if ours is None or theirs is None:
        return f"it is not known which splits the champion, version {champion.version}, had"
    if ours != theirs:
        return f"the champion, version {champion.version}, was measured on another split"
    return ""


def quality_of(measured: Measured, champion: Champion | None, papers: PaperScores) -> Figure:
    """Returns the scores as a chart."""
    others: dict[str, Mapping[str, float]] = {
        "random ranking": _scores(measured.figures, "random_map")
    }
    if champion is not None:
        others[f"champion, version {champion.version}"] = _champions_scores(champion)
    for row in papers.rows:
        if papers.measure == "map" and row.network == measured.network["name"]:
            others[f"{network_name(row.network)} in {row.source}"] = row.scores
    rows = {ALL: measured.figures, **measured.figures["attributes"]}
    description = "MAP of every attribute; the table below has the same numbers"
    caption = "MAP on the test split; the line is the 95 % bootstrap interval over queries."
    svg = quality_svg(rows, others, name="quality", description=description)
    return Figure(svg=svg, caption=caption)


def scores_table(measured: Measured, champion: Champion | None) -> Table:
    """Returns the scores of every attribute and of all queries."""
    figures = measured.figures
    columns = dict(_COLUMNS)
    if "attention_in_region" in figures:
        columns |= _ATTENTION_COLUMNS
    if "box_iou" in figures:
        columns |= _BOX_COLUMNS
    of_champion = _champions_scores(champion)
    title = [] if champion is None else [f"champion (v{champion.version})"]
    rows = []
    for name, row in {**figures["attributes"], ALL: figures}.items():
        interval = f"{row['map_low']:.1f} to {row['map_high']:.1f}"
        own = [name, _cell(row["map"]), interval, _cell(row["random_map"]), gain_text(row)]
        theirs = [] if champion is None else [_cell(of_champion.get(name))]
        others = [format(row[key], form) if key in row else "" for key, form in columns.values()]
        rows.append([*own, *theirs, *others])
    header = ["attribute", "MAP", "95 % interval", "random", "gain", *title, *columns]
    return Table(caption="Scores on the test split, percent", header=header, rows=rows)


def papers_table(measured: Measured, papers: PaperScores) -> Table | None:
    """Returns the papers' scores with this model's under them; None where there are none."""
    if not papers.rows:
        return None
    names = [*(name for name in measured.schema.names if name in papers.rows[0].scores), ALL]
    own = {name: row["map"] for name, row in measured.figures["attributes"].items()}
    own[ALL] = measured.figures[papers.measure]
    sources = [(network_name(row.network), row.source, row.scores) for row in papers.rows]
    sources.append((f"this model ({network_name(measured.network['name'])})", "", own))
    rows = [
        [network, source, *(_cell(scores.get(name)) for name in names)]
        for network, source, scores in sources
    ]
    measure = {"map": "MAP", "triplet_accuracy": "Triplets in order"}[papers.measure]
    caption = f"{measure} on {measured.schema.dataset}, percent, as the papers report it"
    return Table(caption=caption, header=["network", "source", *names], rows=rows)


def tags_table(measured: Measured) -> Table | None:
    """Returns how often the values that prototypes name are right; None where none was named."""
    figures = measured.figures["tags"]
    if not figures:
        return None
    named = [*figures["attributes"].items(), ("mean over attributes", figures)]
    return Table(
        caption="Values named by the nearest prototype on the test split, percent",
        header=["attribute", "right", "always the most frequent value", "calibration error"],
        rows=[
            [name, *(_cell(row[x]) for x in ("accuracy", "most_frequent", "calibration_error"))]
            for name, row in named
        ],
    )


def growth_table(measured: Measured) -> Table | None:
    """Returns what growing gave, beside what was there before; None where nothing was grown."""
    figures = measured.figures.get("growth")
    if not figures:
        return None
    rows = []
    for name, row in figures.items():
        best = row.get("best_known", {})
        spaces = (row["own"], best, row.get("all_known", {}))
        rows.append([name, *map(_with_interval, spaces), best.get("attribute", "")])
        rows[-1].append(_cell(row["own"]["random_map"]))
    return Table(
        caption="MAP of grown attributes on the test split, percent: by their own embeddings, and "
        "by those of the attributes that were known before",
        header=["attribute", "its own", "best known", "all known", "which is best", "random"],
        rows=rows,
    )


def quantisation_table(measured: Measured) -> Table | None:
    """Returns what 8-bit integers change of each attribute; None where there is no such graph."""
    figures = measured.figures.get("quantisation")
    if not figures:
        return None
    named = [*figures["attributes"].items(), ("all", figures)]
    return Table(
        caption="MAP in 8-bit integers on the test split, percent, and its change from float32; an "
        f"image's two embeddings have a cosine of at least {figures['smallest_cosine']:.4f}",
        header=["attribute", "MAP", "change"],
        rows=[[name, _cell(row["map"]), f"{row['map_change']:+.2f}"] for name, row in named],
    )


def _with_interval(row: Mapping[str, float]) -> str:
    return f"{row['map']:.2f} ({row['map_low']:.1f} to {row['map_high']:.1f})" if row else ""


def learning_of(measured: Measured) -> Figure:
    """Returns the training's curves as a chart."""
    curve = measured.curve.to_pydict()
    if not curve["epoch"]:
        return Figure(svg=None, caption="Not drawn: no epoch was logged.")
    losses = {name.replace("_", " "): curve[name] for name in _LOSSES if any(curve.get(name, ()))}
    if not losses:  # of a version that was grown
        return Figure(svg=None, caption="Not drawn: nothing was trained step by step.")
    best = max(range(len(curve["epoch"])), key=lambda place: curve["valid_map"][place])
    svg = learning_svg(
        curve["epoch"],
        curve["valid_map"],
        losses,
        name="learning",
        description="validation MAP and mean losses after each epoch",
    )
    caption = (
        f"Validation MAP is highest after epoch {curve['epoch'][best]} "
        f"({curve['valid_map'][best]:.2f}): these weights were measured."
    )
    return Figure(svg=svg, caption=caption)


def _champions_scores(champion: Champion | None) -> dict[str, float]:
    if champion is None or champion.evaluation is None:
        return {}
    return _scores(champion.evaluation, "map")


def _scores(figures: Mapping[str, Any], measure: str) -> dict[str, float]:
    of_each = {name: row[measure] for name, row in figures["attributes"].items()}
    return {ALL: figures[measure], **of_each}


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
