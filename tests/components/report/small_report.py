"""A report of everything, made by hand, with real figures and pictures."""

import numpy as np
from builders import noise

from components.figures.pictures import to_data_uri
from components.figures.space import scatter_svg
from components.report.content import (
    AttributeSection,
    Figure,
    ManipulationPart,
    Report,
    Strip,
    Table,
    Tile,
)


def picture(*lines: str, sign="plain") -> Tile:
    source = to_data_uri(np.asarray(noise(20, 20)), side_px=16)
    return Tile(source=source, description=f"picture of {lines}", lines=lines, sign=sign)


def figure(name: str, *, groups: list[str]) -> Figure:
    points = np.arange(2 * len(groups)).reshape(-1, 2)
    return Figure(
        svg=scatter_svg(points, groups, name=name, description=f"{name} of {groups}"),
        caption=f"caption of {name}",
    )


def report(*, rude: str = "plain") -> Report:
    """Returns a report in which `rude` stands wherever a name from the data can."""
    strip = Strip(
        title=rude,
        note=f"note {rude}",
        tiles=[
            picture("query", rude, sign="query"),
            picture("1. 0.9", rude, sign="agrees"),
            picture("2. 0.8", rude, sign="differs"),
        ],
    )
    pair = Strip(
        title="25 %",
        note=f"{rude} finds {rude}",
        tiles=[picture("query", rude, sign="query"), picture("1", rude, sign="differs")],
    )
    section = AttributeSection(
        name=rude,
        summary=f"MAP of {rude}",
        searches=[strip],
        attention=strip,
        space=figure("space-0", groups=[rude, "b"]),
        confused=[pair],
        triplets=[strip],
        triplet_summary="in order",
    )
    table = Table(caption=f"scores {rude}", header=["attribute", "MAP"], rows=[[rude, "61.30"]])
    return Report(
        title=f"title {rude}",
        facts=[("data set", rude)],
        quality=figure("quality", groups=[rude]),
        scores=table,
        notes=[f"note {rude}"],
        items=table,
        papers=table,
        learning=Figure(svg=None, caption="Not drawn."),
        spaces=figure("spaces", groups=[rude]),
        tags=table,
        growth=table,
        quantisation=table,
        manipulation=ManipulationPart(
            summary=f"changes of {rude}",
            scores=table,
            curves=figure("curves", groups=[rude]),
            examples=[strip],
        ),
        attention=[strip],
        attributes=[section],
        failures=[strip],
    )
