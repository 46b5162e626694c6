"""How fast a value grows or falls, as the slope of the straight line through all its readings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Trend:
    """Least squares over (time, value) pairs, of which only five sums are kept; values may be arrays of one shape."""

    count: int = 0
    time: float = 0.0
    time_squared: float = 0.0
    value: np.ndarray | float = 0.0
    product: np.ndarray | float = 0.0

    def add(self, time: float, value: np.ndarray | float) -> None:
        """One more reading."""
        self.count += 1
        self.time += time
        self.time_squared += time * time
        self.value = self.value + value
        self.product = self.product + time * value

    def slope(self) -> np.ndarray | None:
        """Change per unit of time; None with fewer than two times."""
        spread = self.time_squared - self.time**2 / self.count if self.count > 1 else 0.0
        if spread <= 0:
            return None
        return np.asarray((self.product - self.time * np.asarray(self.value) / self.count) / spread)
