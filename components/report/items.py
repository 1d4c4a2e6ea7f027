"""The part of a report about items: how often an image finds its item, also by category."""

from collections.abc import Mapping
from typing import Any

from components.evaluation.evaluation import HIT_KS, SHOWN_HIT
from components.evaluation.figures import item_row
from components.provenance.origin import Champion
from components.report.content import Table

_HITS = tuple(f"hit_at_{k}" for k in HIT_KS)


def items_table(figures: Mapping[str, Any], champion: Champion | None) -> Table | None:
    """Returns the hit rates of items beside a random ranking's; None where there are no items."""
    row = item_row(figures)
    if row is None:
        return None
    rows = [_cells(name, each) for name, each in figures.get("categories", {}).items()]
    random = [f"{row[f'random_{hit}']:.1f}" for hit in _HITS]
    rows.append(["a random ranking", *random, "", "", f"{row['random_map']:.2f}", "", ""])
    theirs = champion and champion.evaluation and item_row(champion.evaluation)
    if champion is not None and theirs:
        rows.append(_cells(f"champion, version {champion.version}", theirs))
    shown = SHOWN_HIT.replace("_at_", "@")
    return Table(
        caption="Queries with an image of their item among the first of the gallery, percent",
        header=[
            "",
            *(f"hit@{k}" for k in HIT_KS),
            f"95 % interval of {shown}",
            f"{shown}, random",
            "MAP",
            "queries",
            "gallery",
        ],
        rows=[*rows, _cells("this model", row)],
    )


def items_notes(figures: Mapping[str, Any]) -> list[str]:
    """Returns what is to be known of the table."""
    row, notes = item_row(figures), []
    if figures.get("categories"):
        notes.append("The queries of a category are held against the gallery of that category.")
    if row and row["num_unmatched"]:
        notes.append(
            f"Queries left out, whose item is not in the gallery: {row['num_unmatched']:,}."
        )
    return notes


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
    return [
        name,
        *(f"{row[hit]:.1f}" for hit in _HITS),
        f"{row[f'{SHOWN_HIT}_low']:.1f} to {row[f'{SHOWN_HIT}_high']:.1f}",
        f"{row[f'random_{SHOWN_HIT}']:.1f}",
        f"{row['map']:.2f}",
        f"{row['num_queries']:,}",
        f"{row['num_gallery']:,}",
    ]
