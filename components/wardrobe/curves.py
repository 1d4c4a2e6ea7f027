"""Curves and outlines as arrays of points: the geometry that the painting modules share.

Lengths are in percent of the figure's height: y = 0 is the crown, y = 100 the soles, and
x = 0 the middle of the body.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Points: TypeAlias = npt.NDArray[np.float64]
"""Points of shape (N, 2), columns x and y."""


def points(*pairs: tuple[float, float]) -> Points:
    """Returns pairs (x, y) as an array of shape (N, 2)."""
    return np.array(pairs, dtype=np.float64)


def mirrored(path: Points) -> Points:
    """Returns the same path on the other side of the body, in the same order."""
    flipped: Points = path * np.array([-1.0, 1.0])
    return flipped


def both_sides(right: Points) -> Points:
    """Returns a path that ends in the middle, continued by its own mirror image back outwards."""
    return np.concatenate([mirrored(right), right[::-1]])


def bend(
    start: tuple[float, float], control: tuple[float, float], end: tuple[float, float]
) -> Points:
    """Returns a quadratic Bezier curve as 12 points from `start` to `end`."""
    t = np.linspace(0.0, 1.0, 12)[:, None]
    p0, p1, p2 = points(start, control, end)
    curve: Points = (1 - t) ** 2 * p0 + 2 * t * (1 - t) * p1 + t**2 * p2
    return curve


def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> Points:
    """Returns an ellipse as 28 points."""
    angle = np.linspace(0.0, 2 * np.pi, 28, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    stretched: Points = np.array(centre) + np.array(radii) * circle
    return stretched


def box(x0: float, y0: float, x1: float, y1: float) -> Points:
    """Returns the four corners of an upright box."""
    return points((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def frill(path: Points, *, depth: float, num_waves: int) -> Points:
    """Returns the path with waves of +-`depth` across its direction."""
    dense = stretch(path, 0.0, 1.0, num_points=num_waves * 6 + 1)
    wave = depth * np.sin(np.linspace(0.0, 2 * np.pi * num_waves, len(dense)))
    return dense + wave[:, None] * _normals(dense)


def stretch(path: Points, start: float, end: float, *, num_points: int = 14) -> Points:
    """Returns the part of a path between two fractions of its length.

    Fractions outside 0..1 continue the first or last segment in a straight line.
    """
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(lengths)]) / lengths.sum()
    before = path[0] - (path[1] - path[0]) / (at[1] - at[0])
    after = path[-1] + (path[-1] - path[-2]) / (at[-1] - at[-2])
    knots = np.concatenate([[-1.0], at, [2.0]])
    ends = np.concatenate([[before], path, [after]])
    wanted = np.linspace(start, end, num_points)
    return np.stack([np.interp(wanted, knots, ends[:, axis]) for axis in (0, 1)], axis=1)


def strip(path: Points, half_widths: tuple[float, ...], *, round_start: bool = False) -> Points:
    """Returns the outline of a limb: a path thickened by half widths spread evenly along it.

    With `round_start` a half circle closes it before its first point, as at a shoulder.
    """
    where = np.linspace(0.0, 1.0, len(half_widths))
    width = np.interp(np.linspace(0.0, 1.0, len(path)), where, half_widths)
    across = width[:, None] * _normals(path)
    outline = np.concatenate([path + across, (path - across)[::-1]])
    if not round_start:
        return outline
    angle = np.linspace(0.0, np.pi, 10)[1:-1, None]
    backwards = -width[0] * (path[1] - path[0]) / np.linalg.norm(path[1] - path[0])
    cap = path[0] - np.cos(angle) * across[0] + np.sin(angle) * backwards
    return np.concatenate([outline, cap])


def _normals(path: Points) -> Points:
    """Returns unit vectors across the path at each of its points."""
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return np.stack([-along[:, 1], along[:, 0]], axis=1)
