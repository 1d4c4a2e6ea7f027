"""Watches for a loss or gradient that is not finite; the device is not waited for at every step."""

import torch
from torch import Tensor


class FiniteGuard:
    """Remembers the first step at which something was not finite, on the device.

    Args of the constructor:
        device: of what is watched.
    """

    def __init__(self, device: torch.device) -> None:
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)

    def watch(self, step: int, *scalars: Tensor) -> None:
        """Notes the step where one of the scalars is not finite."""
        is_bad = ~torch.stack([scalar.detach().isfinite() for scalar in scalars]).all()
        self._first_bad = torch.where(is_bad & (self._first_bad < 0), step, self._first_bad)

    def first_bad(self) -> int | None:
        """Returns the first step with something not finite; waits for the device."""
        step = int(self._first_bad)
        return None if step < 0 else step
