"""Every image asks all others: against loops, and how much narrower that makes an interval."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from builders import splits_table

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.evaluation.evaluation import evaluate_retrieval
from components.evaluation.gate import judge
from components.evaluation.manipulation_figures import evaluate_manipulation
from components.evaluation.metrics import bootstrap_interval
from components.evaluation.query_scores import query_scores, read_query_scores, write_query_scores
from components.evaluation.verdict import Verdict
from components.params import GateParams

NUM_IMAGES, NUM_VALUES = 60, 4
IMAGES = np.arange(10, 10 + NUM_IMAGES)
SCHEMA, BOTH = (
    AttributeSchema(
        dataset="toy",
        attributes=tuple(Attribute(name=x, values=("v", "round", "boat", "none")) for x in names),
    )
    for names in (["neck"], ["neck", "collar"])
)


def rows_and_groups(seed=0):
    """Images of one or two values in groups of one to three; a third has the role of a query."""
    rng = np.random.default_rng(seed)
    group = IMAGES[np.sort(rng.integers(0, NUM_IMAGES // 2, NUM_IMAGES))]
    rows, groups = [], []
    for place, image in enumerate(IMAGES.tolist()):
        role = "query" if group[place] % 3 == 0 else "gallery"
        for value in rng.choice(NUM_VALUES, rng.integers(1, 3), replace=False).tolist():
            rows.append((image, 0, value, "test", role))
            groups.append(int(group[place]))
    return rows, groups


def apart(rows, groups):
    table = splits_table(rows)
    place = table.schema.get_field_index("exclusion_group")
    return table.set_column(place, tables.SPLITS.field(place), [groups])


@pytest.fixture(scope="module")
def embeddings():
    vectors = np.random.default_rng(1).normal(size=(NUM_IMAGES, 1, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def by_hand(rows, groups, embeddings):
    """Returns the average precision of every image, by its number, and the items that it ranks."""
    values, group_of = {}, {}
    for (image, _, value, _, _), group in zip(rows, groups, strict=True):
        values.setdefault(image, set()).add(value)
        group_of[image] = group
    precision, ranked = {}, {}
    for image, own in values.items():
        others = [other for other in values if group_of[other] != group_of[image]]
        similarity = {
            x: float(embeddings[x - 10, 0].astype(np.float64) @ embeddings[image - 10, 0])
            for x in others
        }
        order = sorted(others, key=lambda x: -similarity[x])
        agrees = [bool(values[other] & own) for other in order]
        if any(agrees):
            hits = np.cumsum(agrees)
            precision[image] = np.mean([hits[i] / (i + 1) for i, yes in enumerate(agrees) if yes])
            ranked[image] = agrees
    return precision, ranked


def test_scores_against_loops_over_all_other_groups(embeddings):
    rows, groups = rows_and_groups()
    found = evaluate_retrieval(apart(rows, groups), "test", IMAGES, embeddings)[0]
    wanted, ranked = by_hand(rows, groups, embeddings)
    assert found.query_images_Q.tolist() == sorted(wanted)
    np.testing.assert_allclose(found.ap_Q, [wanted[x] for x in sorted(wanted)], atol=1e-6)
    # a random ranking's precision is of as many items as the query ranks
    rng = np.random.default_rng(2)
    for place in (0, 20, 40):
        agrees = np.array(ranked[sorted(wanted)[place]])
        shuffled = rng.permuted(np.tile(agrees, (20_000, 1)), axis=1)
        precision = shuffled.cumsum(axis=1) / np.arange(1, len(agrees) + 1)
        mean = (precision * shuffled).sum(axis=1).mean() / agrees.sum()
        assert found.scores["random_map"][place] == pytest.approx(mean, abs=0.005)


def test_held_out_queries_are_those_whose_role_is_to_ask(embeddings):
    rows, groups = rows_and_groups()
    found = evaluate_retrieval(apart(rows, groups), "test", IMAGES, embeddings)[0]
    asking = {row[0] for row in rows if row[4] == "query"}
    assert {*found.query_images_Q[found.held_out_Q].tolist()} == asking & {*found.query_images_Q}
    by_roles = evaluate_retrieval(splits_table(rows), "test", IMAGES, embeddings)[0]
    assert by_roles.held_out_Q is None
    assert len(by_roles.ap_Q) < len(found.ap_Q)


def test_every_image_is_changed_and_answers(embeddings):
    rows, groups = rows_and_groups()
    prototypes = [np.eye(NUM_VALUES, 8, dtype=np.float32)]
    for table, count in ((apart(rows, groups), NUM_IMAGES), (splits_table(rows), None)):
        found = evaluate_manipulation(
            table, "test", IMAGES, embeddings, prototypes=prototypes, weights=[1.0]
        )
        num_asking = len({row[0] for row in rows if row[4] == "query"})
        assert len(found.queries.images_n) == (count or num_asking)


def scores_of(splits, embeddings, path, schema=SCHEMA):
    results = evaluate_retrieval(splits, "test", IMAGES, embeddings)
    written = query_scores(results, embeddings, schema=schema, known=schema, splits="5" * 64)
    write_query_scores(written, path)
    return read_query_scores(path)


def test_the_gate_says_how_much_narrower_it_decides(embeddings, tmp_path):
    rows, groups = rows_and_groups()
    champion = np.roll(embeddings, 1, axis=0)
    ours, theirs = (
        scores_of(apart(rows, groups), each, tmp_path / "scores") for each in (embeddings, champion)
    )
    verdict = judge(ours, theirs, challenger_version=2, champion_version=1, limits=GateParams())
    widths = verdict.widths
    held_out = pa.compute.sum(ours.queries["is_held_out_query"]).as_py()
    assert (widths.num_queries, widths.num_held_out) == (len(ours.queries), held_out)
    (interval,) = [rule for rule in verdict.rules if rule.name.startswith("lower end")]
    assert widths.width == pytest.approx(
        2 * (verdict.rules[0].measured - interval.measured), rel=0.2
    )
    # widths fall with the root of the number of queries
    expected = (widths.num_queries / widths.num_held_out) ** 0.5
    assert widths.width_held_out / widths.width == pytest.approx(expected, rel=0.35)
    assert f"{widths.width_held_out / widths.width:.1f} times as wide" in widths.text
    assert Verdict.from_json(verdict.to_json()) == verdict

    alone = judge(ours, None, challenger_version=1, champion_version=None, limits=GateParams())
    assert (alone.widths.of, alone.widths.num_queries) == ("MAP", len(ours.queries))
    assert "interval of the MAP over" in alone.widths.text


def test_where_roles_decide_nothing_is_said_and_older_verdicts_are_read(embeddings, tmp_path):
    rows, _ = rows_and_groups()
    scores = scores_of(splits_table(rows), embeddings, tmp_path / "scores")
    assert pa.parquet.read_schema(tmp_path / "scores").names == tables.QUERY_SCORES.names[:-1]
    verdict = judge(scores, None, challenger_version=1, champion_version=None, limits=GateParams())
    assert verdict.widths is None
    older = verdict.to_json().replace(', "widths": null', "")
    assert older != verdict.to_json()
    assert Verdict.from_json(older) == replace(verdict)


def test_equal_scores_have_widths_and_no_ratio(embeddings, tmp_path):
    rows, groups = rows_and_groups()
    scores = scores_of(apart(rows, groups), embeddings, tmp_path / "scores")
    verdict = judge(scores, scores, challenger_version=2, champion_version=1, limits=GateParams())
    assert (verdict.passed, verdict.widths.width) == (False, 0)
    assert verdict.widths.text.endswith(" 0.00")


def test_queries_of_an_attribute_whose_roles_decide_are_held_out_ones(embeddings, tmp_path):
    """In both samples they are all: what differs is who asks for the other attribute."""
    rows, groups = rows_and_groups()
    by_roles = splits_table([(image, 1, *others) for image, _, *others in rows])
    splits = pa.concat_tables([apart(rows, groups), by_roles])
    scores = scores_of(splits, np.repeat(embeddings, 2, axis=1), tmp_path / "scores", schema=BOTH)
    judged = judge(scores, None, challenger_version=1, champion_version=None, limits=GateParams())
    asking = scores.queries.to_pandas()
    by_role = asking["is_held_out_query"].isna()
    assert set(asking.loc[by_role, "attribute"]) == {"collar"}
    kept = asking[by_role | (asking["is_held_out_query"] == True)]  # noqa: E712 (nulls)
    assert judged.widths.num_queries == len(asking)
    assert judged.widths.num_held_out == len(kept) > by_role.sum()
    low, high = bootstrap_interval(100 * kept["average_precision"].to_numpy(), confidence=0.95)
    assert judged.widths.width_held_out == pytest.approx(high - low)
