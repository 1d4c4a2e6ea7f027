"""How much of a data set may be left out before a run is stopped."""

from pathlib import Path

from components.errors import HemlineError


def check_quarantined_share(
    num_quarantined: int, num_images: int, *, allowed: float, where: Path
) -> None:
    """Raises a HemlineError when a larger share of the images than allowed was left out.

    Args:
        num_quarantined: images left out, of `num_images` in all.
        num_images: images in all.
        allowed: share, `data.max_quarantined_share`.
        where: the table that lists them, for the message.
    """
    share = num_quarantined / max(num_images, 1)
    if share > allowed:
        raise HemlineError(
            f"{num_quarantined} of {num_images} images ({share:.1%}) cannot be used, allowed are "
            f"{allowed:.1%} (data.max_quarantined_share); {where} lists them with their reasons"
        )
