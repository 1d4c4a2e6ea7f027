"""The gate's verdict on a version: the one that stands, or a new one, for which it is measured."""

from collections.abc import Sequence
from dataclasses import asdict

from components.attributes import nfc
from components.errors import HemlineError
from components.evaluation.gate import judge, judge_grown
from components.evaluation.query_scores import QueryScores
from components.evaluation.verdict import Verdict
from components.params import GateParams, load_section
from components.registry import ancestry, promotion, versions
from components.registry.versions import RegisteredVersion
from components.tables import split_digest
from components.tracking.runs import Tracking
from pipelines.operations.promote.inputs import Inputs
from pipelines.operations.promote.measuring import measure_again, recorded_scores


def verdict_on(
    challenger: RegisteredVersion,
    champion: int | None,
    *,
    without: Sequence[str] = (),
    inputs: Inputs,
    where: Tracking,
) -> Verdict:
    """Returns the verdict that stands, or a new one, which the version then carries.

    Raises:
        HemlineError: as `promote_version`.
    """
    limits = load_section(inputs.params, GateParams)
    text = versions.read_tag(challenger, promotion.VERDICT_TAG, tracking=where)
    stored = None if text is None else Verdict.from_json(text)
    is_champion = champion == challenger.version
    against = None if is_champion else champion
    left_out = tuple(sorted({*map(nfc, without)}))
    asked = (against, asdict(limits), left_out)
    if stored and (is_champion or (stored.champion, stored.limits, stored.without) == asked):
        return stored
    if left_out:
        _check_left_out(left_out, challenger, against, where)
    verdict = _new_verdict(
        challenger, against, limits=limits, without=left_out, inputs=inputs, where=where
    )
    versions.write_tag(challenger, promotion.VERDICT_TAG, verdict.to_json(), tracking=where)
    return verdict


def _new_verdict(
    challenger: RegisteredVersion,
    champion: int | None,
    *,
    limits: GateParams,
    without: Sequence[str],
    inputs: Inputs,
    where: Tracking,
) -> Verdict:
    ours = recorded_scores(challenger, where) or measure_again(challenger, inputs, where)
    theirs = None
    if champion is not None:
        known = _known_to_parent(challenger, champion, ours, where)
        if known is not None:
            return judge_grown(
                ours,
                known,
                challenger_version=challenger.version,
                champion_version=champion,
                limits=limits,
                without=without,
                new_values=_new_values(challenger, champion, where),
            )
        theirs = _champions_scores(challenger, champion, ours, inputs, where)
    return judge(
        ours,
        theirs,
        challenger_version=challenger.version,
        champion_version=champion,
        limits=limits,
        without=without,
    )


def _check_left_out(
    names: Sequence[str], challenger: RegisteredVersion, champion: int | None, where: Tracking
) -> None:
    """Refuses attributes that the champion does not know, or the challenger does."""
    known = [] if champion is None else _attributes_of(champion, where)
    ours = ancestry.described(challenger, tracking=where).schema.names
    lost = [name for name in known if name not in ours]
    if wrong := [name for name in names if name not in lost]:
        raise HemlineError(
            f"--without {', '.join(wrong)}: of the champion's attributes, {challenger.uri} lacks "
            f"{', '.join(lost) or 'none'}"
        )


def _attributes_of(number: int, where: Tracking) -> list[str]:
    version = RegisteredVersion(name=where.model_name, version=number)
    return ancestry.described(version, tracking=where).schema.names


def _new_values(challenger: RegisteredVersion, champion: int, where: Tracking) -> list[str]:
    """Returns the values that the champion does not know, of attributes that both know."""
    version = RegisteredVersion(name=where.model_name, version=champion)
    theirs = ancestry.described(version, tracking=where).schema
    ours = ancestry.described(challenger, tracking=where).schema
    values = {attribute.name: attribute.values for attribute in theirs.attributes}
    return [
        f"{attribute.name}={value}"
        for attribute in ours.attributes
        for value in attribute.values
        if attribute.name in values and value not in values[attribute.name]
    ]


def _known_to_parent(
    challenger: RegisteredVersion, champion: int, ours: QueryScores, where: Tracking
) -> list[str] | None:
    """Returns the attributes that the champion knows; None unless the challenger extends it.

    It does where it has the champion's embeddings of all that both know: one that was grown from
    it and embeds an attribute anew is measured beside it, as any other is.
    """
    version = RegisteredVersion(name=where.model_name, version=champion)
    shared = ancestry.shared_attributes(challenger, version, tracking=where)
    if not shared:
        return None
    known = _attributes_of(champion, where)
    return known if {*known} & {*ours.attributes} <= {*shared} else None


def _champions_scores(
    challenger: RegisteredVersion,
    champion: int,
    ours: QueryScores,
    inputs: Inputs,
    where: Tracking,
) -> QueryScores:
    """Returns the champion's scores on the challenger's test split, measured if need be."""
    version = RegisteredVersion(name=where.model_name, version=champion)
    theirs = recorded_scores(version, where)
    if theirs is not None and theirs.splits == ours.splits:
        return theirs
    if split_digest(inputs.splits) != ours.splits:
        raise HemlineError(
            f"{challenger.uri} was measured on another split than that in {inputs.splits}, which "
            f"the champion would be measured on: check out the commit that made {challenger.uri} "
            "(`git checkout`, then `dvc checkout`)"
        )
    return measure_again(version, inputs, where)
