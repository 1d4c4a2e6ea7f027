"""The gate's rules, each by numbers worked by hand, and on noise."""

import dataclasses
import json

import numpy as np
import pytest
from scored import LIMITS, NUM_QUERIES, broken, even, scores

from components.errors import HemlineError
from components.evaluation.gate import judge
from components.evaluation.query_scores import QueryScores
from components.evaluation.verdict import Verdict

CHANGE, INTERVAL, DROP = "change of MAP", "lower end of its 95 % interval", "largest drop"


def lengths(low: float, high: float) -> dict[str, tuple[float, float]]:
    """Returns the lengths of embeddings, of which those of one attribute alone are not 1."""
    return {"sleeve": (1.0, 1.0), "skirt": (low, high)}


def judged(
    challenger: QueryScores,
    champion: QueryScores | None = None,
    *,
    without: tuple[str, ...] = (),
    **limits: float,
) -> Verdict:
    return judge(
        challenger,
        champion,
        challenger_version=4,
        champion_version=None if champion is None else 3,
        limits=dataclasses.replace(LIMITS, **limits),
        without=without,
    )


def measured(verdict: Verdict, name: str) -> float:
    (rule,) = [rule for rule in verdict.rules if rule.name.startswith(name)]
    return rule.measured


def test_a_better_challenger_passes_with_its_numbers() -> None:
    verdict = judged(scores(even(0.75, 0.61)), scores(even(0.7, 0.6)))
    assert verdict.passed
    assert (verdict.challenger, verdict.champion, verdict.splits) == (4, 3, "5" * 64)
    assert measured(verdict, CHANGE) == pytest.approx(3)  # half of 5 points, half of 1
    assert measured(verdict, DROP) == pytest.approx(-1)
    rows = [(row.name, row.num_queries) for row in verdict.attributes]
    assert rows == [("sleeve", NUM_QUERIES), ("skirt", NUM_QUERIES)]
    maps = [(row.champion_map, row.challenger_map) for row in verdict.attributes]
    np.testing.assert_allclose(maps, [(70, 75), (60, 61)])


def test_attributes_weigh_by_their_queries() -> None:
    challenger = scores({"sleeve": [0.9] * 30, "skirt": [0.6] * 10})
    champion = scores({"sleeve": [0.8] * 30, "skirt": [0.6] * 10})
    assert measured(judged(challenger, champion), CHANGE) == pytest.approx(7.5)


def test_the_same_scores_are_no_reason_to_change() -> None:
    same = scores(even(0.7, 0.6))
    assert broken(judged(same, same)) == [INTERVAL]


def test_an_attribute_may_not_drop_far_whatever_the_others_gain() -> None:
    verdict = judged(scores(even(0.9, 0.54)), scores(even(0.7, 0.6)))
    assert broken(verdict) == ["largest drop of an attribute's MAP"]
    assert measured(verdict, DROP) == pytest.approx(6)
    assert next(r.attribute for r in verdict.rules if r.name.startswith(DROP)) == "skirt"
    assert judged(scores(even(0.9, 0.56)), scores(even(0.7, 0.6))).passed


def test_a_change_must_be_as_large_as_asked() -> None:
    challenger, champion = scores(even(0.72, 0.62)), scores(even(0.7, 0.6))
    assert judged(challenger, champion, min_map_change=1.9).passed
    assert broken(judged(challenger, champion, min_map_change=2.1)) == [CHANGE]


def test_a_loss_may_be_allowed_and_no_more_than_it() -> None:
    challenger, champion = scores(even(0.69, 0.59)), scores(even(0.7, 0.6))
    assert broken(judged(challenger, champion)) == [CHANGE, INTERVAL]
    assert judged(challenger, champion, min_map_change=-1.5).passed
    assert broken(judged(challenger, champion, min_map_change=-0.5)) == [CHANGE, INTERVAL]


def random_scores(rng: np.random.Generator, gain: float) -> tuple[QueryScores, QueryScores]:
    """Returns scores whose differences are noise of 20 points about a gain."""
    champion = rng.uniform(0.3, 0.7, 200)
    challenger = champion + gain + rng.normal(0, 0.2, 200)
    return scores({"sleeve": list(challenger)}), scores({"sleeve": list(champion)})


def test_noise_does_not_promote_and_a_gain_does() -> None:
    """A gain of nothing passes in 2.5 % of cases; of 60, 8 or more would have odds of 1 to 4000.

    A gain of 6 points is 4.2 standard errors (20 / sqrt(200) points).
    """
    rng = np.random.default_rng(7)
    limits = {"max_attribute_drop": 100.0}
    noise = [judged(*random_scores(rng, 0.0), **limits).passed for _ in range(60)]
    gains = [judged(*random_scores(rng, 0.06), **limits).passed for _ in range(20)]
    assert sum(noise) < 8
    assert sum(gains) >= 18


def test_pairs_take_away_what_queries_differ_in() -> None:
    """Queries that differ by 60 points, each of which gains 2: unpaired, it would be noise."""
    rng = np.random.default_rng(3)
    champion = rng.uniform(0.2, 0.8, 40)
    pair = [scores({"sleeve": list(champion + gain)}) for gain in (0.02, 0.0)]
    assert judged(*pair).passed


def test_queries_are_matched_by_attribute_and_image_not_by_row() -> None:
    rng = np.random.default_rng(1)
    better = {name: list(rng.uniform(0.3, 0.9, NUM_QUERIES)) for name in ("sleeve", "skirt")}
    challenger = scores({name: [x + 0.01 for x in values] for name, values in better.items()})
    champion = scores(better)
    shuffled = dataclasses.replace(
        champion, queries=champion.queries.take(rng.permutation(2 * NUM_QUERIES))
    )
    assert measured(judged(challenger, shuffled), CHANGE) == pytest.approx(1)
    assert judged(challenger, shuffled).rules == judged(challenger, champion).rules


def test_measurements_on_two_splits_are_not_compared() -> None:
    with pytest.raises(HemlineError, match=r"split 555555555555 .* 666666666666"):
        judged(scores(even(0.9, 0.9), splits="6" * 64), scores(even(0.7, 0.6)))


def test_an_attribute_that_is_new_counts_for_nothing_and_is_shown() -> None:
    challenger = scores({**even(0.75, 0.65), "collar": [0.3] * 5})
    verdict = judged(challenger, scores(even(0.7, 0.6)))
    assert verdict.passed
    assert measured(verdict, CHANGE) == pytest.approx(5)
    new = verdict.attributes[-1]
    assert (new.name, new.champion_map) == ("collar", None)
    assert new.challenger_map == pytest.approx(30)


def test_an_attribute_that_is_lost_is_refused() -> None:
    verdict = judged(scores({"sleeve": [0.9] * 9}), scores(even(0.7, 0.6)))
    (rule,) = [rule for rule in verdict.rules if not rule.passed]
    assert (rule.measured, rule.attribute) == (1, "skirt")


def test_an_attribute_that_was_to_be_left_out_may_be_lost_and_no_other() -> None:
    challenger, champion = scores({"sleeve": [0.9] * 9}), scores(even(0.7, 0.6))
    verdict = judged(challenger, champion, without=("skirt",))
    assert verdict.passed
    assert verdict.remarks == ["left out, as was asked for: skirt"]
    assert not judged(challenger, champion, without=("collar",)).passed


def test_models_of_other_attributes_are_not_compared() -> None:
    with pytest.raises(HemlineError, match=r"share no query.*\(collar; sleeve, skirt\)"):
        judged(scores({"collar": [0.9]}), scores(even(0.7, 0.6)))


@pytest.mark.parametrize(
    ("challenger", "rule", "found"),
    [
        (scores(even(0.29, 0.29)), "MAP above a random ranking's", 9),
        (scores(even(0.7, 0.7), norm_ranges=lengths(0.98, 1.0)), "length of", 0.02),
        (scores(even(0.7, 0.7), norm_ranges=lengths(1.0, 1.03)), "length of", 0.03),
        (
            scores(even(0.7, 0.7), mean_similarity={"sleeve": 0.2, "skirt": 0.95}),
            "highest mean similarity",
            0.95,
        ),
        (
            scores(even(0.7, 0.7), norm_ranges=lengths(float("nan"), float("nan"))),
            "length of",
            float("nan"),
        ),
    ],
)
@pytest.mark.parametrize("champion", [None, scores(even(0.1, 0.1))])
def test_what_is_not_sane_is_never_promoted(challenger, rule, found, champion) -> None:
    verdict = judged(challenger, champion)
    assert [name.startswith(rule) for name in broken(verdict)] == [True]
    assert measured(verdict, rule) == pytest.approx(found, nan_ok=True)


def test_the_first_champion_needs_sanity_alone() -> None:
    verdict = judged(scores(even(0.5, 0.4)))
    assert verdict.passed
    assert verdict.champion is None
    assert len(verdict.rules) == 3
    assert [row.champion_map for row in verdict.attributes] == [None, None]


def test_the_challengers_gain_stands_beside_its_map() -> None:
    """A MAP of 60 where a random ranking has 20 is half of what there is to gain."""
    high, low = [0.9] * 20 + [0.3] * 20, [0.1, 0.3] * 20
    sleeve, skirt = judged(scores({"sleeve": high, "skirt": low})).attributes
    assert (sleeve.random_map, sleeve.gain) == pytest.approx((20, 50))
    assert 30 < sleeve.gain_low < 40
    assert 60 < sleeve.gain_high < 70
    assert sleeve.gain_text.startswith("50.0 (")
    assert skirt.gain_low <= 0 <= skirt.gain_high
    assert skirt.gain_text.endswith(", not above random")


def test_a_verdict_of_an_older_version_is_read_without_gains() -> None:
    plain = json.loads(judged(scores(even(0.9, 0.5))).to_json())
    for row in plain["attributes"]:
        for name in ("random_map", "gain", "gain_low", "gain_high"):
            del row[name]
    verdict = Verdict.from_json(json.dumps(plain))
    assert verdict.passed
    assert [row.gain_text for row in verdict.attributes] == ["", ""]


def test_a_verdict_comes_back_from_json() -> None:
    verdict = judged(scores({**even(0.9, 0.5), "collar": [0.3]}), scores(even(0.7, 0.6)))
    assert Verdict.from_json(verdict.to_json()) == verdict
    plain = json.loads(verdict.to_json())
    assert plain["passed"] is False
    assert [rule["passed"] for rule in plain["rules"]] == [
        True,
        True,
        False,
        True,
        True,
        True,
        True,
    ]
