"""How alike an activation's outputs are before and after a conversion: cosine, linear CKA, distance, mean outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..content import Array


class Sums:
    """Running sums of one activation's outputs before and after, in float64: memory does not grow with the samples."""

    def __init__(self) -> None:
        self.samples = self.values = 0
        self.cosines = self.gap = self.size = 0.0
        self.mean = np.zeros(2)
        self.first: Any = 0.0  # sums of features, [2 C]
        self.second: Any = 0.0  # of their products, [2 C, 2 C]

    def add(self, before: torch.Tensor | Array, after: torch.Tensor | Array) -> None:
        """Outputs [T, B, C, ...] of a batch."""
        a, b = (torch.as_tensor(v) for v in (before, after))
        flat = [v.detach().double().transpose(0, 1).flatten(1).cpu().numpy() for v in (a, b)]
        norms = [np.linalg.norm(v, axis=1) for v in flat]
        both, none = norms[0] * norms[1], (norms[0] == 0) & (norms[1] == 0)
        cosine = np.divide((flat[0] * flat[1]).sum(1), both, out=none.astype(float), where=both > 0)
        self.cosines += float(cosine.sum())
        self.gap += float(((flat[1] - flat[0]) ** 2).sum())
        self.size += float((flat[0] ** 2).sum())
        self.mean += [float(v.sum()) for v in flat]
        self.samples += len(cosine)
        self.values += flat[0].size
        axes = tuple(i for i in range(a.dim()) if i not in (1, 2))
        features = np.concatenate([v.detach().double().mean(axes).cpu().numpy() for v in (a, b)], 1)
        self.first = self.first + features.sum(0)
        self.second = self.second + features.T @ features

    def measures(self) -> tuple[float, float, float, float, float]:
        """Cosine, CKA, gap, and both rates."""
        centred = self.second - np.outer(self.first, self.first) / self.samples
        c = len(centred) // 2
        size = [float(np.linalg.norm(centred[s, s])) for s in (np.s_[:c], np.s_[c:])]
        # sums that cancel leave a rounding of this size where features do not vary
        least = 1e-12 * float(np.abs(self.second).max())
        varies = min(size) > least
        cka = float(np.linalg.norm(centred[:c, c:]) ** 2 / (size[0] * size[1])) if varies else float("nan")
        gap = float(np.sqrt(self.gap / self.size)) if self.size else float("nan")
        rates = self.mean / self.values
        return self.cosines / self.samples, cka, gap, float(rates[0]), float(rates[1])
