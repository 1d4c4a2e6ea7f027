"""One request and one answer: what may be asked, and who agrees."""

import pytest

from components.errors import HemlineError
from components.search.request import SearchRequest, parse_weight, verdict


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1001", "heavy", ""])
def test_a_weight_is_a_number_above_0(text: str) -> None:
    with pytest.raises(HemlineError, match=r"the weight of collar .* above 0, at most 1000"):
        parse_weight("collar", text)


def test_weights_are_read() -> None:
    assert [parse_weight("collar", text) for text in ("2", "0.5", "1e3")] == [2, 0.5, 1000]


def test_at_least_as_many_are_ranked_as_are_shown() -> None:
    assert SearchRequest(weights={"collar": 1}, top_k=10, rerank=10).rerank == 10
    with pytest.raises(HemlineError, match="rerank 9 leaves fewer items than the 10"):
        SearchRequest(weights={"collar": 1}, top_k=10, rerank=9)


@pytest.mark.parametrize(
    ("values", "query_values", "expected"),
    [
        ({"v"}, {"v"}, "agrees"),
        ({"v", "deep_v"}, {"deep_v"}, "agrees"),
        ({"round"}, {"v"}, "differs"),
        (set(), {"v"}, "unknown"),
        ({"v"}, set(), "unknown"),
    ],
)
def test_items_agree_that_share_a_value(
    values: set[str], query_values: set[str], expected: str
) -> None:
    assert verdict(values, query_values) == expected
