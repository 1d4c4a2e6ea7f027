"""The gate on a version that was grown from the champion: what is new decides, by its own rules."""

import dataclasses
import json

import numpy as np
import pytest
from scored import LIMITS, NUM_QUERIES, broken, even, scores

from components.evaluation.gate import judge_grown
from components.evaluation.metrics import bootstrap_interval, gain
from components.evaluation.query_scores import QueryScores
from components.evaluation.verdict import Verdict

KNOWN = ("sleeve", "skirt")
GAIN = "lower end of its gain's 95 % interval"
ABOVE = "MAP above a random ranking's"
GOOD = [0.6, 0.8] * (NUM_QUERIES // 2)
RANDOM = 0.2  # of every query


def grown(new: dict[str, list[float]], **changes: object) -> QueryScores:
    return scores({**even(0.7, 0.6), **new}, **changes)


def judged(
    challenger: QueryScores,
    known: tuple[str, ...] = KNOWN,
    *,
    without: tuple[str, ...] = (),
    new_values: tuple[str, ...] = (),
    **limits: float,
) -> Verdict:
    return judge_grown(
        challenger,
        known,
        challenger_version=4,
        champion_version=3,
        limits=dataclasses.replace(LIMITS, **limits),
        without=without,
        new_values=new_values,
    )


def rules_of(verdict: Verdict, attribute: str) -> dict[str, float]:
    return {rule.name: rule.measured for rule in verdict.rules if rule.attribute == attribute}


def test_a_new_attribute_above_random_passes_with_its_numbers() -> None:
    verdict = judged(grown({"fit": GOOD}))
    assert verdict.passed
    assert (verdict.challenger, verdict.champion, verdict.splits) == (4, 3, "5" * 64)
    of_fit = rules_of(verdict, "fit")
    assert of_fit[ABOVE] == pytest.approx(50)  # 70 less 20
    low, _ = bootstrap_interval(np.array(GOOD), np.full(NUM_QUERIES, RANDOM), statistic=gain)
    assert of_fit[GAIN] == pytest.approx(100 * low)
    assert 55 < 100 * low < 62.5, "below the gain, (70 - 20) / (100 - 20)"


def test_old_attributes_are_shown_as_unchanged_and_no_rule_is_about_them() -> None:
    verdict = judged(grown({"fit": GOOD}))
    assert verdict.unchanged == KNOWN
    rows = {row.name: (row.champion_map, row.challenger_map) for row in verdict.attributes}
    assert rows["sleeve"] == pytest.approx((70, 70))
    assert rows["skirt"] == pytest.approx((60, 60))
    assert rows["fit"] == (None, pytest.approx(70))
    assert [verdict.champion_text(row) for row in verdict.attributes] == [
        "unchanged",
        "unchanged",
        None,
    ]
    assert {rule.attribute for rule in verdict.rules} <= {None, "fit"}
    assert "grown from version 3: its embeddings of sleeve, skirt are" in verdict.remarks[0]


@pytest.mark.parametrize(
    ("fit", "rule"),
    [
        ([0.29] * NUM_QUERIES, ABOVE),  # 9 points above random, where 10 are asked
        ([0.2] * NUM_QUERIES, GAIN),  # no better than random, with 0 asked and a point allowed
        ([0.9, 0.0, 0.1, 0.0] * 10, GAIN),  # above it by noise: 5 points, give or take 12
    ],
)
def test_a_new_attribute_that_is_not_above_random_is_rejected(fit, rule) -> None:
    asked = 10.0 if rule == ABOVE else -1.0
    verdict = judged(grown({"fit": fit}), min_above_random=asked)
    assert broken(verdict) == [rule]


def test_what_the_old_attributes_would_fail_does_not_count() -> None:
    """They are the champion's, which is in use."""
    poor = scores(
        {**even(0.1, 0.05), "fit": GOOD},
        norm_ranges={"sleeve": (0.5, 2.0), "skirt": (1.0, 1.0), "fit": (1.0, 1.0)},
        mean_similarity={"sleeve": 0.99, "skirt": 0.3, "fit": 0.4},
    )
    verdict = judged(poor)
    assert verdict.passed
    assert rules_of(verdict, "fit")["highest mean similarity"] == 0.4


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"norm_ranges": {"fit": (0.98, 1.0)}}, "length of embeddings, from 1"),
        ({"norm_ranges": {"fit": (float("nan"), 1.0)}}, "length of embeddings, from 1"),
        ({"mean_similarity": {"fit": 0.95}}, "highest mean similarity"),
    ],
)
def test_the_new_attributes_embeddings_must_be_sane(changes, rule) -> None:
    sound = grown({"fit": GOOD})
    merged = {name: {**getattr(sound, name), **value} for name, value in changes.items()}
    assert broken(judged(dataclasses.replace(sound, **merged))) == [rule]


def test_each_of_several_new_attributes_must_pass() -> None:
    poor = [0.9, 0.0, 0.1, 0.0] * 10
    assert judged(grown({"fit": GOOD, "hem": GOOD})).passed
    verdict = judged(grown({"fit": GOOD, "hem": poor}), min_above_random=0.0)
    assert [(rule.name, rule.attribute) for rule in verdict.rules if not rule.passed] == [
        (GAIN, "hem")
    ]
    assert "fit" in {rule.attribute for rule in verdict.rules}


@pytest.mark.parametrize("num_queries", [0, 1])
def test_a_new_attribute_that_hardly_anything_asks_for_is_rejected(num_queries) -> None:
    """A single query has no interval, and none has nothing to show."""
    asked = [0.9] * num_queries
    found = grown({"fit": asked, "hem": GOOD})
    if not asked:  # as an evaluation has it
        found.norm_ranges.pop("fit")
        found.mean_similarity.pop("fit")
    verdict = judged(found)
    assert broken(verdict) == ["queries of a new attribute"]
    assert rules_of(verdict, "fit")["queries of a new attribute"] == num_queries
    alone = judged(dataclasses.replace(found, attributes=(*KNOWN, "fit")))
    assert "queries of a new attribute" in broken(alone)


def test_an_attribute_that_is_lost_is_refused_unless_it_was_to_be_left_out() -> None:
    found = scores({"sleeve": [0.7] * 9, "fit": GOOD})
    verdict = judged(found)
    (rule,) = [rule for rule in verdict.rules if not rule.passed]
    assert (rule.measured, rule.attribute) == (1, "skirt")
    meant = judged(found, without=("skirt",))
    assert meant.passed
    assert (meant.unchanged, meant.without) == (("sleeve",), ("skirt",))
    assert "left out, as was asked for: skirt" in meant.remarks
    assert judged(found, (*KNOWN, "collar"), without=("skirt",)).passed is False


def test_with_nothing_new_only_what_was_to_be_left_out_is_a_reason_to_change() -> None:
    both, one = scores(even(0.7, 0.6)), scores({"sleeve": [0.7] * 9})
    (rule,) = [rule for rule in judged(both).rules if not rule.passed]
    assert (rule.name, rule.measured) == (
        "attributes or values that are new, or attributes left out as was asked for",
        0,
    )
    assert broken(judged(one)) == ["attributes that the challenger does not know"]
    assert judged(one, without=("skirt",)).passed


def test_a_value_that_is_new_is_a_reason_to_change_but_not_for_losing_an_attribute() -> None:
    verdict = judged(scores(even(0.7, 0.6)), new_values=("skirt=mini", "skirt=midi"))
    assert verdict.passed
    assert [x.measured for x in verdict.rules if x.attribute == "skirt=mini, skirt=midi"] == [2]
    lost = judged(scores({"sleeve": [0.7] * 9}), new_values=("sleeve=cap",))
    assert broken(lost) == ["attributes that the challenger does not know"]
    poor = grown({"fit": [0.2] * NUM_QUERIES})
    assert broken(judged(poor, new_values=("skirt=mini",))) == [ABOVE, GAIN]


def test_a_verdict_comes_back_from_json_and_an_older_one_is_read() -> None:
    verdict = judged(scores({"sleeve": [0.7] * 9, "fit": GOOD}), without=("skirt",))
    assert Verdict.from_json(verdict.to_json()) == verdict
    plain = json.loads(verdict.to_json())
    assert (plain["unchanged"], plain["without"]) == (["sleeve"], ["skirt"])
    del plain["unchanged"], plain["without"]
    older = Verdict.from_json(json.dumps(plain))
    assert older == dataclasses.replace(verdict, unchanged=(), without=())


def test_how_much_narrower_is_of_the_gain_that_decides() -> None:
    """Every image asks, and half of them would by their roles; the noisier attribute decides."""
    rng = np.random.default_rng(5)
    noisy, calm = (list(rng.uniform(0.5 - x, 0.5 + x, NUM_QUERIES)) for x in (0.3, 0.01))
    found = grown({"fit": noisy, "hem": calm})
    asks = [place % 2 == 0 for place in range(len(found.queries))]
    place = found.queries.schema.get_field_index("is_held_out_query")
    field = found.queries.schema.field(place)
    found = dataclasses.replace(found, queries=found.queries.set_column(place, field, [asks]))
    widths = judged(found).widths
    assert (widths.of, widths.attribute) == ("gain", "fit")
    assert (widths.num_queries, widths.num_held_out) == (NUM_QUERIES, NUM_QUERIES // 2)
    ends = [
        bootstrap_interval(np.array(asked), np.full(len(asked), RANDOM), statistic=gain)
        for asked in (noisy, noisy[::2])
    ]
    assert [widths.width, widths.width_held_out] == pytest.approx(
        [100 * (high - low) for low, high in ends]
    )
    assert "the interval of the gain of fit over 40 queries is" in widths.text
    assert Verdict.from_json(judged(found).to_json()) == judged(found)
    assert judged(grown({"fit": noisy})).widths is None, "roles decide"
