"""The Fréchet distance of two sets of features, each taken for a Gaussian: what FID, FVD and E-FID share."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class Gaussian:
    """Mean and covariance of features, from sums alone: memory does not grow with their number."""

    count: int = 0
    total: torch.Tensor | None = None
    products: torch.Tensor | None = None

    def add(self, features: torch.Tensor) -> None:
        """Features (several, width)."""
        rows = features.detach().double().cpu()
        total, products = rows.sum(0), rows.T @ rows
        self.count += len(rows)
        self.total = total if self.total is None else self.total + total
        self.products = products if self.products is None else self.products + products

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean (width,) and unbiased covariance (width, width); at least two features must have been added."""
        assert self.total is not None and self.products is not None and self.count > 1
        mean = self.total / self.count
        return mean, (self.products - self.count * torch.outer(mean, mean)) / (self.count - 1)


def distance(one: Gaussian, other: Gaussian) -> float | None:
    """Squared Fréchet distance |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al. 2017); None below two features
    in either set."""
    if min(one.count, other.count) < 2:
        return None
    (mean, covariance), (mean_other, covariance_other) = one.moments(), other.moments()
    root = _root(covariance)
    # C1 C2 and the symmetric root C2 root have the same eigenvalues, and those of the latter are real and not negative.
    shared = torch.linalg.eigvalsh(root @ covariance_other @ root).clamp(min=0).sqrt().sum()
    spread = covariance.trace() + covariance_other.trace() - 2 * shared
    return max(0.0, float((mean - mean_other).square().sum() + spread))


def _root(covariance: torch.Tensor) -> torch.Tensor:
    """The symmetric square root of a covariance; rounding below zero is taken for zero."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
