"""A report of a small evaluation: what stands in it, and what is left out and why."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from builders import splits_table

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.evaluation.categories import evaluate_categories
from components.evaluation.evaluation import evaluate_retrieval, report
from components.evaluation.manipulation_figures import (
    Manipulation,
    evaluate_manipulation,
    manipulation_report,
)
from components.evaluation.triplet_relations import evaluate_triplets
from components.images.store import ImageStore, Shard, StoredImages, write_manifest, write_shard
from components.provenance.origin import Champion, Origin
from components.report.compose import compose, render
from components.report.content import Measured, Report
from components.report.items import items_table

SIZE = 16
SCHEMA = AttributeSchema(
    dataset="by hand",
    attributes=(
        Attribute(name="length", values=("short", "long", "<script>x</script>")),
        Attribute(name="collar", values=("none", "round")),
        Attribute(name="unused", values=("a", "b")),
    ),
)
IMAGES = np.arange(100, 140)
SPLITS = "data/splits"
ROLES = ("gallery", "query")
_TAGGED = {"accuracy": 61.0, "most_frequent": 40.0, "calibration_error": 3.5}
TAGS = {**_TAGGED, "attributes": {"collar": {**_TAGGED, "num_images": 9}}}


def attend(pixels, attributes):
    """Weights that depend on picture and attribute."""
    maps = torch.rand(*attributes.shape, 2, 2, generator=torch.Generator().manual_seed(0))
    return maps + attributes[..., None, None]


def _splits() -> pa.Table:
    rng = np.random.default_rng(2)
    rows = [
        (image, attribute, rng.integers(3 - attribute), "test", ROLES[image % 4 == 0])
        for attribute in (0, 1)
        for image in IMAGES.tolist()
    ]
    rows += [(1, 0, 1, "train", "train"), (2, 2, 0, "valid", "gallery")]
    return splits_table(rows)


def triplets_table() -> pa.Table:
    rng = np.random.default_rng(1)
    rows = [(0, 0, *rng.choice(IMAGES, 3, replace=False)) for _ in range(30)]
    columns = zip(*rows, strict=True)
    return pa.table([*columns], names=tables.TRIPLETS.names).cast(tables.TRIPLETS)


def origin(run_id: str = "run1", **changes) -> Origin:
    known = {
        "commit": "c0ffee",
        "has_local_changes": True,
        "params": {"train.seed": "3", "split.method": "random"},
        "inputs": {SPLITS: "1.dir"},
    }
    return Origin(run_id=run_id, **{**known, **changes})


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (len(IMAGES), SIZE, SIZE, 3), np.uint8)
    batch = StoredImages(IMAGES.tolist(), ["ab" * 32] * len(IMAGES), pixels)
    write_shard(folder / "shard-00000.arrow", [batch], image_size_px=SIZE, recipe="r")
    shard = Shard(file="shard-00000.arrow", key="k", num_images=len(IMAGES), quarantined=())
    write_manifest(folder, [shard], image_size_px=SIZE)
    embeddings = rng.normal(size=(len(IMAGES), 3, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=2, keepdims=True)
    splits, triplets = _splits(), triplets_table()
    results = evaluate_retrieval(splits, "test", IMAGES, embeddings)
    accuracy = evaluate_triplets(triplets, IMAGES, embeddings)
    figures = report(results, SCHEMA, triplet_accuracy=accuracy)
    manipulation = manipulated(splits, embeddings)
    epochs = {"epoch": [0, 1], "loss": [2.0, 1.0], "ranking_loss": [2.0, 1.0]}
    return Measured(
        schema=SCHEMA,
        network={"name": "ag_man", "ca": None},
        origin=origin(),
        champion=None,
        num_catalog_images=42,
        splits=splits,
        triplets=triplets,
        curve=pa.table({**epochs, "classification_loss": [None] * 2, "valid_map": [30.0, 20.0]}),
        store=ImageStore(folder),
        attend=attend,
        images=IMAGES,
        embeddings=embeddings,
        results=results,
        manipulation=manipulation,
        item_names={},
        figures={
            **figures,
            "num_parameters": 1_234_567,
            "manipulation": manipulation_report(manipulation, SCHEMA),
            "tags": TAGS,
        },
    )


def manipulated(splits: pa.Table, embeddings: np.ndarray) -> Manipulation:
    prototypes = [np.eye(8, dtype=np.float32)[: len(x.values)] for x in SCHEMA.attributes]
    return evaluate_manipulation(
        splits, "test", IMAGES, embeddings, prototypes=prototypes, weights=[1.0] * 3
    )


def test_a_report_has_all_its_parts(measured: Measured) -> None:
    done = []
    found = compose(measured, splits=SPLITS, on_progress=done.append)
    assert done == [1, 1]
    assert [section.name for section in found.attributes] == ["length", "collar"]
    assert [row[0] for row in found.scores.rows] == ["length", "collar", "all"]
    assert found.scores.rows[-1][1] == f"{measured.figures['map']:.2f}"
    length, collar = found.attributes
    for section in found.attributes:
        best, median, worst = section.searches
        assert [len(strip.tiles) for strip in section.searches] == [11] * 3
        precision = [float(strip.note.split()[2][:5]) for strip in (best, median, worst)]
        assert precision == sorted(precision, reverse=True)
        assert len(section.attention.tiles) == 2 * 5
        assert "40 of the 40" in section.space.caption
        assert section.confused
    assert [strip.title for strip in length.triplets].count("In order") == 2
    assert collar.triplets == []
    assert "no triplet" in collar.triplet_summary
    assert [len(strip.tiles) for strip in found.attention] == [1 + 3] * 2
    assert "80 of the 80" in found.spaces.caption
    assert "after epoch 0 (30.00)" in found.learning.caption
    gain = found.scores.header.index("gain")
    overall = measured.figures
    text = f"{overall['gain']:.1f} ({overall['gain_low']:.1f} to {overall['gain_high']:.1f})"
    assert found.scores.rows[-1][gain] == text
    facts = dict(found.facts)
    assert facts["overall gain"].startswith(f"{text} %")
    assert facts["commit"] == "c0ffee, with local changes"
    assert facts["network"] == "AG-MAN; 1.23 M parameters"
    assert facts["recipe"] == "seed 3; pictures of 16 px"
    assert facts["split"] == (
        "1 images to train, 1 to validate and 40 to test, drawn at random; 20 test queries"
    )
    assert found.title == "by hand: AG-MAN"
    assert found.notes == [
        "The champion is not shown: the registry has no champion.",
        "The papers are not shown: none of the papers reports on the data set by hand.",
        "Not above a random ranking: length, collar (their gain may be 0).",  # embedded by noise
    ]
    assert found.items is None
    assert "items found" not in facts
    text = render(found)
    assert "<script" not in text
    assert "&lt;script&gt;x&lt;/script&gt;" in text


def apart(splits: pa.Table) -> pa.Table:
    """Returns splits where every test image asks all but the other image of its pair."""
    in_test = pc.equal(splits["split"], "test")
    pairs = pc.if_else(in_test, pc.divide(splits["image"], 2), pa.scalar(None, pa.int64()))
    place = splits.schema.get_field_index("exclusion_group")
    return splits.set_column(place, tables.SPLITS.field(place), pairs)


def test_where_every_image_asks_notes_count_what_each_ranks(measured: Measured) -> None:
    splits = apart(measured.splits)
    results = evaluate_retrieval(splits, "test", IMAGES, measured.embeddings)
    figures = {**measured.figures, **report(results, SCHEMA, triplet_accuracy=50.0)}
    everyone = replace(measured, splits=splits, results=results, figures=figures)
    found = compose(everyone, splits=SPLITS)
    strips = [strip for section in found.attributes for strip in section.searches]
    assert strips
    assert all("of the 38 items of the gallery" in strip.note for strip in strips)
    assert found.failures
    assert all(" of 38 items" in strip.note for strip in found.failures)


def test_tags_stand_beside_the_most_frequent_value(measured: Measured) -> None:
    table = compose(measured, splits=SPLITS).tags
    assert table is not None
    assert table.rows[-1] == ["mean over attributes", "61.00", "40.00", "3.50"]
    figures = {**measured.figures, "tags": {}}
    assert compose(replace(measured, figures=figures), splits=SPLITS).tags is None


def test_attribute_manipulation_has_scores_curves_and_three_changes(measured: Measured) -> None:
    part = compose(measured, splits=SPLITS).manipulation
    figures = measured.figures["manipulation"]
    assert part.summary.startswith(
        f"{figures['num_changes']} changes of 10 of 10 queries, 30 items"
    )
    rows = {row[0]: row for row in part.scores.rows}
    assert [*rows] == ["length", "collar", "all changes", "mean over attributes"]
    hit = part.scores.header.index("hit@20")
    assert rows["length"][hit] == f"{figures['attributes']['length']['hit_20']:.1f}"
    assert rows["all changes"][hit] == f"{figures['micro']['hit_20']:.1f}"
    assert rows["mean over attributes"][hit] == f"{figures['macro']['hit_20']:.1f}"
    as_it_is = part.scores.header.index("query as it is")
    assert rows["length"][as_it_is] == (
        f"{figures['attributes']['length']['unchanged_hit_20']:.1f}"
    )
    assert "a random ranking" in part.curves.svg
    ranks = [int(strip.note.split()[-1].rstrip(".")) for strip in part.examples]
    above = measured.manipulation.scores.above_C
    middle = np.sort(above)[(len(above) - 1) // 2 :][:2]
    assert ranks[0] == above.min() + 1
    assert ranks[1] - 1 in middle
    assert ranks[2] == above.max() + 1
    for strip, rank in zip(part.examples, ranks, strict=True):
        signs = [tile.sign for tile in strip.tiles]
        assert signs[0] == "query"
        assert len(signs) == 11
        first = signs.index("agrees") if "agrees" in signs else None
        assert first == (rank if rank <= 10 else None)


def test_a_data_set_of_one_label_an_image_is_told_so(measured: Measured) -> None:
    alone = pc.equal(measured.splits["attribute"], 0)
    found = manipulated(measured.splits.filter(alone), measured.embeddings)
    figures = {**measured.figures, "manipulation": manipulation_report(found, SCHEMA)}
    text = render(compose(replace(measured, manipulation=found, figures=figures), splits=SPLITS))
    assert "<p>Not measured: images have one label.</p>" in text


def test_the_failures_are_the_worst_first(measured: Measured) -> None:
    rng = np.random.default_rng(0)
    values = measured.splits.to_pandas().query("split == 'test' and attribute == 0")["value"]
    # every value's queries are near the next value's items
    turned = measured.embeddings.copy()
    corners = np.eye(8, dtype=np.float32)[(values + (IMAGES % 4 == 0)) % 3]
    turned[:, 0] = corners + 0.01 * rng.normal(size=corners.shape)
    turned /= np.linalg.norm(turned, axis=2, keepdims=True)
    results = evaluate_retrieval(measured.splits, "test", IMAGES, turned)
    found = compose(replace(measured, embeddings=turned, results=results), splits=SPLITS)
    failures = [strip for strip in found.failures if strip.title == "length"]
    assert len(failures) == 2
    assert "these hold 0." in failures[0].note
    assert len(failures[0].tiles) == 1 + 10 + 1
    assert failures[0].tiles[-1].sign == "agrees"
    assert int(failures[0].tiles[-1].lines[0].removeprefix("rank ")) > 10


def test_a_network_without_attention_shows_none(measured: Measured) -> None:
    blind = replace(measured, attend=lambda pixels, attributes: None)
    found = compose(blind, splits=SPLITS)
    assert not found.attention
    assert {section.attention for section in found.attributes} == {None}
    assert 'href="#attention"' not in render(found)


def champion(run: Origin, *, evaluation=None) -> Champion:
    return Champion(version=7, origin=run, evaluation=evaluation)


@pytest.mark.parametrize(
    ("run", "has_evaluation", "reason"),
    [
        (origin("run1"), True, "this model is the champion, version 7"),
        (origin("run2"), False, "holds no evaluation"),
        (origin("run2", inputs={}), True, "not known which splits"),
        (origin("run2", inputs={SPLITS: "2.dir"}), True, "measured on another split"),
    ],
)
def test_a_champion_that_cannot_be_compared_is_not_shown(
    measured: Measured, run: Origin, has_evaluation: bool, reason: str
) -> None:
    evaluation = measured.figures if has_evaluation else None
    found = compose(replace(measured, champion=champion(run, evaluation=evaluation)), splits=SPLITS)
    assert reason in found.notes[0]
    assert "champion" not in " ".join(found.scores.header)


def test_a_champion_of_the_same_split_stands_beside_the_model(measured: Measured) -> None:
    figures = {"map": 81.25, "attributes": {"collar": {"map": 82.5}, "gone": {"map": 1.0}}}
    other = champion(origin("run2"), evaluation=figures)
    found = compose(replace(measured, champion=other), splits=SPLITS)
    column = found.scores.header.index("champion (v7)")
    assert [row[column] for row in found.scores.rows] == ["", "82.50", "81.25"]
    assert "champion, version 7" in found.quality.svg
    assert not [note for note in found.notes if "champion" in note]


def test_the_papers_stand_beside_a_model_on_their_data(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.report.papers._TOLERANCE", 1)
    names = ("skirt_length", "neck_design", "lapel_design")
    attributes = tuple(
        replace(attribute, name=name)
        for attribute, name in zip(SCHEMA.attributes, names, strict=True)
    )
    rows = dict(zip(names, measured.figures["attributes"].values(), strict=False))
    theirs = replace(
        measured,
        schema=AttributeSchema(dataset="FashionAI", attributes=attributes),
        figures={**measured.figures, "attributes": rows},
    )
    found = compose(theirs, splits=SPLITS)
    assert found.papers.header == ["network", "source", *names, "all"]
    assert found.papers.rows[-2] == ["AG-MAN", "AG-MAN, Table 2", "65.57", "62.08", "68.18", ""]
    own = found.papers.rows[-1]
    assert own[0] == "this model (AG-MAN)"
    assert own[2] == f"{rows['skirt_length']['map']:.2f}"
    assert own[4] == "", "no query"
    assert "AG-MAN in AG-MAN, Table 2" in found.quality.svg


@pytest.fixture(scope="module")
def with_items(measured: Measured) -> Measured:
    """Returns an evaluation whose third attribute is an identity of thirteen items."""
    attributes = (
        replace(SCHEMA.attributes[0], name="category"),
        SCHEMA.attributes[1],
        Attribute(name="item", num_items=34_000),
    )
    schema = replace(SCHEMA, attributes=attributes)
    item_of = {image: 20_000 + image % 13 for image in IMAGES.tolist()}
    item_of[104] = 33_998  # asks for what is not in the gallery
    several = [(100, 2, 33_999, "test", "query"), (101, 2, 33_999, "test", "gallery")]
    rows = [(i, 2, item, "test", ROLES[i % 4 == 0]) for i, item in item_of.items()] + several
    more = splits_table(rows)
    known = measured.splits.filter(pc.field("attribute") < 2)
    splits = pa.concat_tables([known, more])
    results = evaluate_retrieval(splits, "test", IMAGES, measured.embeddings)
    figures = report(results, schema, triplet_accuracy=50)
    categories = evaluate_categories(splits, "test", IMAGES, measured.embeddings, schema=schema)
    kept = {name: measured.figures[name] for name in ("num_parameters", "manipulation", "tags")}
    return replace(
        measured,
        schema=schema,
        splits=splits,
        results=results,
        item_names={item: f"id_{item}" for item in item_of.values()},
        figures={**figures, "categories": categories, **kept},
    )


@pytest.fixture(scope="module")
def report_of_items(with_items: Measured) -> Report:
    return compose(with_items, splits=SPLITS)


def test_items_have_a_table_of_hit_rates_beside_a_random_ranking(
    with_items: Measured, report_of_items: Report
) -> None:
    table = report_of_items.items
    rows = {row[0]: row[1:] for row in table.rows}
    figures = with_items.figures["attributes"]["item"]

    assert table.header[1:5] == ["hit@1", "hit@5", "hit@20", "hit@50"]
    assert rows["this model"][2] == f"{figures['hit_at_20']:.1f}"
    assert rows["a random ranking"][2] == f"{figures['random_hit_at_20']:.1f}"
    assert rows["this model"][-2:] == ["9", "30"]
    for name, row in with_items.figures["categories"].items():
        assert rows[name][0] == f"{row['hit_at_1']:.1f}"
        assert rows[name][5] == f"{row['random_hit_at_20']:.1f}"
    assert len(rows) == 2 + len(with_items.figures["categories"]) > 2
    assert report_of_items.notes[:2] == [
        "The queries of a category are held against the gallery of that category.",
        "Queries left out, whose item is not in the gallery: 1.",
    ]


def test_a_champion_that_finds_items_stands_between(with_items: Measured) -> None:
    other = champion(origin("run2"), evaluation=with_items.figures)
    rows = items_table(with_items.figures, other).rows
    assert rows[-2] == ["champion, version 7", *rows[-1][1:]]


def test_searches_of_items_name_them_and_end_with_the_first_that_is_right(
    report_of_items: Report,
) -> None:
    section = report_of_items.attributes[-1]

    assert section.name == "item"
    assert "Items found: hit@20 " in section.summary
    for strip in section.searches:
        names = {tile.lines[1] for tile in strip.tiles}
        assert all(name.startswith("id_200") or "item 33999" in name for name in names)
        rank = int(strip.note.rsplit(" ", 1)[-1].rstrip("."))
        agrees = [place for place, tile in enumerate(strip.tiles) if tile.sign == "agrees"]
        assert agrees[0] == min(rank, 11)
    assert section.confused is None
    assert "by role" in section.space.caption
    facts = dict(report_of_items.facts)
    assert facts["data set"].startswith(
        "by hand: 42 images, 2 attributes with 5 values and 34,000 "
    )
    assert facts["items found"].startswith("hit@20 ")


def test_items_that_all_ask_and_answer_have_one_role_in_their_space(with_items: Measured) -> None:
    splits = apart(with_items.splits)
    results = evaluate_retrieval(splits, "test", IMAGES, with_items.embeddings)
    found = compose(replace(with_items, splits=splits, results=results), splits=SPLITS)
    assert "query and gallery" in found.attributes[-1].space.svg


def test_the_page_of_items_lists_no_values_that_are_confused(report_of_items: Report) -> None:
    page = render(report_of_items)
    assert page.count("<h4>Confused values</h4>") == 2
    assert page.count("<h4>Space</h4>") == 3
