"""Colour profiles (ICC.1:2001-04) that are written out, and colours worked out by definition."""

import struct
from collections.abc import Sequence

import numpy as np
from PIL import ImageCms

D50 = (0.9642, 1.0, 0.8249)
# rows: X, Y, Z of red, green and blue, adapted to D50
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
ADOBE_RGB = np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]])
DISPLAY_P3 = np.array(
    [[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]]
)

SRGB_ITSELF = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def rgb_profile(colorants: np.ndarray, curve: float | np.ndarray, *, padding: int = 0) -> bytes:
    """Returns a display's profile; the curve is a gamma, or its values (0 to 65535).

    `padding` bytes of text make it larger.
    """
    curves = {name: _curve(curve) for name in ("rTRC", "gTRC", "bTRC")}
    columns = {f"{c}XYZ": _xyz(colorants[:, i]) for i, c in enumerate("rgb")}
    return _profile("mntr", "RGB ", "XYZ ", columns | curves, padding=padding)


def grey_profile(gamma: float) -> bytes:
    """Returns a profile of grey."""
    return _profile("mntr", "GRAY", "XYZ ", {"kTRC": _curve(gamma)})


def cmyk_profile(cyan_lab: Sequence[float]) -> bytes:
    """Returns a printer's profile whose cyan ink has a colour, and whose others only darken."""
    corners = []
    for inks in np.ndindex(2, 2, 2, 2):
        lightness, a, b = cyan_lab if inks[0] else (100, 0, 0)
        is_black = any(inks[1:])
        corners += [0, 128, 128] if is_black else [round(lightness * 2.55), a + 128, b + 128]
    identity = [65536 if i % 4 == 0 else 0 for i in range(9)]
    ramp = bytes(range(256))
    table = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, *identity)
    return _profile("prtr", "CMYK", "Lab ", {"A2B0": table + 4 * ramp + bytes(corners) + 3 * ramp})


def srgb_of_rgb(colour: Sequence[int], colorants: np.ndarray, gamma: float) -> np.ndarray:
    """Returns the sRGB levels [3] of a colour of a display."""
    return _srgb(colorants @ (np.array(colour) / 255) ** gamma)


def srgb_of_lab(lightness: float, a: float, b: float) -> np.ndarray:
    """Returns the sRGB levels [3] of a colour of CIELAB (D50)."""
    f = (lightness + 16) / 116 + np.array([a / 500, 0, -b / 200])
    return _srgb(np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2) * D50)


def _srgb(xyz: np.ndarray) -> np.ndarray:
    linear = np.clip(np.linalg.inv(SRGB) @ xyz, 0, 1)  # IEC 61966-2-1
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * x) for x in values))


def _curve(curve: float | np.ndarray) -> bytes:
    values = np.atleast_1d(curve if isinstance(curve, np.ndarray) else round(256 * curve))
    return b"curv" + struct.pack(">4xI", len(values)) + values.astype(">u2").tobytes()


def _profile(kind: str, space: str, pcs: str, tags: dict[str, bytes], *, padding: int = 0) -> bytes:
    text = b"text" + bytes(4) + np.random.default_rng(0).bytes(padding) + bytes(8)
    name = b"desc" + bytes(4) + struct.pack(">I5s", 5, b"test\0") + bytes(78)
    tags = {"wtpt": _xyz(D50), "desc": name, "cprt": text, **tags}
    directory, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        start = 128 + 4 + 12 * len(tags) + len(body)
        directory += struct.pack(">4sII", tag.encode(), start, len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(
        ">4x4xI4s4s4s12x4s", 0x02400000, *(x.encode() for x in (kind, space, pcs)), b"acsp"
    )
    header += bytes(28) + struct.pack(">3i", *(round(65536 * x) for x in D50))
    content = header + bytes(128 - len(header)) + directory + body
    return struct.pack(">I", len(content)) + content[4:]
