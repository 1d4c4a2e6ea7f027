"""The table of a comparison."""

import pandas as pd
import pytest

from components.figures.variants import RANDOM, MeasuredVariant, as_markdown, over_seeds, tabulate


def measured(variant: str, score: float, *, seed: int = 3, **others) -> MeasuredVariant:
    quality = {"map": score, "map_low": score - 2, "map_high": score + 3, "random_map": 20.0}
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
    assert table["neck"].tolist() == [31.25, 20, 10]


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


def test_markdown_has_a_row_per_variant_with_its_interval(table):
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in as_markdown(table).splitlines()
    ]
    assert len(lines) == 2 + len(table)
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]
    assert "map_low" not in rows[0]
    assert rows[0]["map"] == "62.50 (60.5 to 65.5)"
    assert rows[0]["neck"] == "31.25"
    assert rows[0]["seed"] == "3"
    assert rows[0]["attention_in_region"] == "31.00"
    assert rows[0]["trained_images_per_s"] == "100"
    assert rows[0]["num_parameters"] == "1.23 M"
    assert rows[1]["attention_in_region"] == ""
    assert rows[2] == dict.fromkeys(lines[0], "") | {
        "variant": RANDOM,
        "map": "20.00",
        "neck": "10.00",
    }


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
        "| ag_man | 61.00 (58.0 to 64.0) | 3.00 | 3 |",
        "| asen | 50.00 (50.0 to 50.0) |  | 1 |",
        "| csn | 47.00 (39.0 to 62.0) | 13.00 | 3 |",
        "| random ranking | 20.00 |  |  |",
    ]
