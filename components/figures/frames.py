"""One code for what agrees with a query and what differs: on sheets, reports, pages and in tables.

A frame's line and a sign say it; the colour says it again. Source of the frames: AG-MAN Fig. 5.
"""

from typing import Literal, NamedTuple

Kind = Literal["query", "agrees", "differs", "unknown"]


class Frame(NamedTuple):
    """How a kind of picture is framed: sign, word, line, and colours on white and on black."""

    sign: str
    word: str
    line: Literal["double", "solid", "dashed", "dotted"]
    colour: str
    colour_on_black: str


FRAMES: dict[Kind, Frame] = {
    "query": Frame("", "the query", "double", "#1b1d21", "#e6e7e9"),
    "agrees": Frame("✓", "agrees", "solid", "#0072b2", "#56b4e9"),
    "differs": Frame("✗", "differs", "dashed", "#b84a00", "#f08a4b"),
    "unknown": Frame("?", "not known", "dotted", "#6b6f76", "#a2a8b3"),
}
"""Blue and vermilion are told apart by colour-blind people (Okabe and Ito, 2008); the vermilion is
darker than theirs, so that a sign of it can be read on white."""


def frames_css() -> str:
    """Returns rules for elements of the classes `frame` or `sign` that also have a kind's name."""
    light = "".join(f"--{kind}: {frame.colour}; " for kind, frame in FRAMES.items())
    dark = "".join(f"--{kind}: {frame.colour_on_black}; " for kind, frame in FRAMES.items())
    rules = "".join(
        f".frame.{kind} {{ border-style: {frame.line}; border-color: var(--{kind}); }}\n"
        f".sign.{kind} {{ color: var(--{kind}); font-weight: 700; }}\n"
        for kind, frame in FRAMES.items()
    )
    return (
        f":root {{ {light}}}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}\n{rules}"
    )
