"""How much of a data set may be quarantined before a run stops."""

from pathlib import Path

from components.errors import HemlineError


def check_quarantined_share(
    num_quarantined: int, num_images: int, *, allowed: float, where: Path
) -> None:
    """Raises a HemlineError when a larger share of the images than allowed is in quarantine.

    Args:
        num_quarantined: different images that have a row in the quarantine, for themselves or for
            one of their labels; of `num_images`.
        num_images: different images that have a row there or are used; some have and are.
        allowed: share, `data.max_quarantined_share`.
        where: the quarantine, for the message.
    """
    share = num_quarantined / max(num_images, 1)
    if share > allowed:
        raise HemlineError(
            f"{num_quarantined} of {num_images} images ({share:.1%}) cannot be used, or one of "
            f"their labels cannot; allowed are {allowed:.1%} (data.max_quarantined_share). "
            f"{where} lists them with reasons: fix them, or allow more"
        )
