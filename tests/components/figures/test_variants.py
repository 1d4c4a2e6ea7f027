"""Variants side by side: the table, and charts that are looked at in their pixels."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from components.figures.variants import (
    _COLOURS,
    RANDOM,
    MeasuredVariant,
    as_markdown,
    over_seeds,
    tabulate,
    write_bars,
    write_curves,
)

BLUE = (31, 119, 180)


def measured(variant: str, score: float, *, seed: int = 3, **others) -> MeasuredVariant:
    quality = {"map": score, "map_low": score - 2, "map_high": score + 3, "random_map": 20.0}
    quality |= {"gain": score - 20, "gain_low": score - 25, "gain_high": score - 10}
    neck = {"map": score / 2, "random_map": 10.0}
    return MeasuredVariant(
        variant=variant,
        seed=seed,
        figures={**quality, "attributes": {"neck": neck}, "num_parameters": 1_234_567, **others},
        trained_images_per_s=99.6,
        embedded_images_per_s=None,
    )


@pytest.fixture
def table() -> pd.DataFrame:
    return tabulate(
        [
            measured("csn", 40.0),
            measured("ag_man", 62.5, attention_in_region=31.0, region_share=9.0),
        ]
    )


def test_the_best_comes_first_and_the_random_ranking_last(table):
    assert table["variant"].tolist() == ["ag_man", "csn", RANDOM]
    assert table["map"].tolist() == [62.5, 40, 20]
    assert table["map_low"].tolist()[:2] == [60.5, 38]
    assert table["map/neck"].tolist() == [31.25, 20, 10]


def test_what_is_not_known_is_empty(table):
    assert table["attention_in_region"].isna().tolist() == [False, True, True]
    assert table["embedded_images_per_s"].isna().all()
    assert table["map_low"].isna().tolist() == [False, False, True]
    assert table.to_csv(columns=["num_parameters"], index=False).split() == [
        "num_parameters",
        "1234567",
        "1234567",
        '""',
    ]
    assert table["seed"].isna().tolist() == [False, False, True]


def test_attribute_manipulation_is_a_column_where_it_was_measured(table):
    assert not [name for name in table if "manipulation" in name]
    macro = {
        "hit_20": 30.0,
        "hit_20_low": 25.0,
        "hit_20_high": 34.0,
        "random_hit_20": 5.0,
    }
    with_it = tabulate(
        [
            measured("ag_man", 62.5, manipulation={"macro": macro}),
            measured("ag_man", 60.5, seed=4, manipulation={"macro": {**macro, "hit_20": 20.0}}),
            measured("csn", 40.0, manipulation={"not_measured": "images have one label"}),
        ]
    )
    column = with_it["manipulation_hit_20"]
    assert column[with_it["variant"] == "ag_man"].tolist() == [30, 20]
    assert column[with_it["variant"] == RANDOM].tolist() == [5]
    assert column[with_it["variant"] == "csn"].isna().all()
    assert "30.00 (25.0 to 34.0)" in as_markdown(with_it)
    means = over_seeds(with_it).set_index("variant")["manipulation_hit_20"]
    assert means["ag_man"] == 25
    assert means[RANDOM] == 5


def test_the_hit_rate_of_items_is_a_column_where_there_are_some(table):
    assert "hit_at_20" not in table
    figures = []
    for hit in (70.0, 50.0):
        item = {"map": 20.0, "random_map": 1.0, "hit_at_20": hit, "random_hit_at_20": 2.5}
        item |= {"hit_at_20_low": hit - 4, "hit_at_20_high": hit + 5}
        figures.append({"attributes": {"neck": {"map": 50.0, "random_map": 10.0}, "item": item}})
    trained = [
        measured("ahbn", score, seed=seed, **row)
        for seed, (score, row) in enumerate(zip((40.0, 38.0), figures, strict=True))
    ]
    with_it = tabulate(trained)
    assert with_it["hit_at_20"].tolist() == [70, 50, 2.5]
    assert "70.00 (66.0 to 75.0)" in as_markdown(with_it)
    means = over_seeds(with_it).set_index("variant")["hit_at_20"]
    assert means.to_dict() == {"ahbn": 60, RANDOM: 2.5}


def test_markdown_has_a_row_per_variant_with_its_interval(table):
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in as_markdown(table).splitlines()
    ]
    assert len(lines) == 2 + len(table)
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]
    assert "map_low" not in rows[0]
    assert rows[0]["map"] == "62.50 (60.5 to 65.5)"
    assert rows[0]["gain"] == "42.50 (37.5 to 52.5)"
    assert rows[0]["map/neck"] == "31.25"
    assert rows[0]["seed"] == "3"
    assert rows[0]["attention_in_region"] == "31.00"
    assert rows[0]["trained_images_per_s"] == "100"
    assert rows[0]["num_parameters"] == "1.23 M"
    assert rows[1]["attention_in_region"] == ""
    assert rows[2] == dict.fromkeys(lines[0], "") | {
        "variant": RANDOM,
        "map": "20.00",
        "map/neck": "10.00",
    }


def test_a_variant_that_an_older_version_measured_has_no_gain(table):
    older = measured("older", 50.0)
    figures = {name: value for name, value in older.figures.items() if "gain" not in name}
    both = tabulate([measured("newer", 60.0), replace(older, figures=figures)])
    lines = as_markdown(over_seeds(both)).splitlines()
    assert lines[2:4] == [
        "| newer | 60.00 (60.0 to 60.0) | 40.00 |  | 1 |",
        "| older | 50.00 (50.0 to 50.0) |  |  | 1 |",
    ]
    alone = tabulate([replace(older, figures=figures)])
    assert alone["gain"].isna().all()
    assert over_seeds(alone)["map"].tolist() == [50, 20]


def test_attributes_may_be_called_like_columns_and_like_each_others_intervals():
    names = [
        "gain",
        "map",
        "seed",
        "variant",
        "map_low",
        "neck",
        "neck_low",
        "x_per_s",
        "a/b",
        "x|y",
    ]
    scores = {
        name: {"map": 10.0 + place, "map_low": 5.0, "map_high": 90.0 + place, "random_map": 1.0}
        for place, name in enumerate(names)
    }
    table = tabulate([measured("csn", 40.0, attributes=scores)])
    first = table.iloc[0]
    assert (first["variant"], first["seed"], first["map"], first["gain"]) == ("csn", 3, 40, 20)
    assert (first["map_low"], first["map_high"]) == (38, 43)
    for place, name in enumerate(names):
        assert (first[f"map/{name}"], first[f"map_high/{name}"]) == (10 + place, 90 + place)
    header, _, row, _ = (
        re.split(r"(?<!\\)\|", line.strip("|")) for line in as_markdown(table).splitlines()
    )
    cells = dict(zip([cell.strip() for cell in header], row, strict=True))
    assert cells["map/gain"].strip() == "10.00 (5.0 to 90.0)"
    assert cells["map/x_per_s"].strip() == "17.00 (5.0 to 97.0)"
    assert cells[r"map/x\|y"].strip() == "19.00 (5.0 to 99.0)"
    assert "map_low/gain" not in cells


def test_seeds_are_set_side_by_side_and_their_mean_counts():
    scores = {"ag_man": (58, 64, 61), "csn": (62, 40, 39), "asen": (50,)}
    table = tabulate(
        [
            measured(variant, score, seed=seed)
            for variant, each in scores.items()
            for seed, score in enumerate(each)
        ]
    )
    assert table["variant"].tolist()[:3] == ["ag_man", "csn", "ag_man"]
    assert table["seed"].tolist()[:3] == [1, 0, 2]
    means = over_seeds(table)
    assert means["variant"].tolist() == ["ag_man", "asen", "csn", RANDOM]
    assert means["map"].tolist() == [61, 50, 47, 20]
    assert means["standard_deviation"].iloc[0] == 3
    assert means["standard_deviation"].isna().tolist() == [False, True, False, True]
    assert as_markdown(means).splitlines()[2:] == [
        "| ag_man | 61.00 (58.0 to 64.0) | 41.00 | 3.00 | 3 |",
        "| asen | 50.00 (50.0 to 50.0) | 30.00 |  | 1 |",
        "| csn | 47.00 (39.0 to 62.0) | 27.00 | 13.00 | 3 |",
        "| random ranking | 20.00 |  |  |  |",
    ]


def blue_lengths(path) -> list[int]:
    """Returns the length of each bar in pixels, from top to bottom."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    widths = (np.abs(pixels.astype(int) - BLUE).sum(axis=2) < 30).sum(axis=1)
    starts = np.flatnonzero((widths > 0) & (np.roll(widths, 1) == 0))
    ends = np.flatnonzero((widths > 0) & (np.roll(widths, -1) == 0))
    return [int(np.median(widths[s : e + 1])) for s, e in zip(starts, ends, strict=True)]


def test_bars_are_as_long_as_their_scores(tmp_path):
    table = pd.DataFrame({"variant": ["ag_man", "csn", "none"], "map": [80, 40, 20]})
    bars = table.assign(map_low=math.nan, map_high=math.nan)
    write_bars(bars, tmp_path / "bars.png", title="MAP", axis="percent")
    lengths = blue_lengths(tmp_path / "bars.png")
    assert len(lengths) == 3
    assert lengths[0] / lengths[2] == pytest.approx(4, rel=0.03)
    assert lengths[1] / lengths[2] == pytest.approx(2, rel=0.03)


def test_an_interval_is_a_line_across_the_end_of_its_bar(tmp_path):
    for name, low, high in (("without", math.nan, math.nan), ("with", 30.0, 70.0)):
        bar = pd.DataFrame({"variant": ["x"], "map": [50], "map_low": [low], "map_high": [high]})
        write_bars(bar, tmp_path / f"{name}.png", title="", axis="")
    without, with_line = (Image.open(tmp_path / f"{name}.png") for name in ("without", "with"))
    middle = np.asarray(with_line.convert("L")).astype(int) - np.asarray(without.convert("L"))
    assert (middle < -60).sum() > 0.2 * with_line.width, "a dark line a third of the axis long"


def rows_of_colour(path, colour: str) -> np.ndarray:
    """Returns the vertical places of the pixels of a colour right of its legend-free half."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    plot = pixels[:, : pixels.shape[1] // 2]
    near = np.abs(plot - 255 * np.array(to_rgb(colour))).sum(axis=2) < 40
    return np.flatnonzero(near.any(axis=1))


def test_a_better_run_lies_higher_and_runs_of_a_name_share_a_colour(tmp_path):
    path = tmp_path / "learning.png"
    write_curves(
        {"good": [[60, 70, 80], [62, 72, 82]], "poor": [[20, 25, 30]]}, path, title="", axis=""
    )
    good, poor = (rows_of_colour(path, colour) for colour in _COLOURS[:2])
    assert good.max() < poor.min(), "rows count from the top"
    assert not rows_of_colour(path, _COLOURS[2]).size, "two names, two colours"


def test_a_chart_of_many_variants_tells_all_apart(tmp_path):
    flat = {f"variant {number}": [[5 * number, 5 * number]] for number in range(1, 17)}
    write_curves(flat, tmp_path / "learning.png", title="", axis="")
    # one colour, two variants: a solid line and, eleven variants on, a dashed one
    rows = rows_of_colour(tmp_path / "learning.png", _COLOURS[0])
    assert np.diff(rows).max() > 50
    assert len(rows) == pytest.approx(2 * 3, abs=6)
