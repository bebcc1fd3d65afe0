"""The gate and its bounds as operators of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def operators() -> Mapping[str, Callable[..., Any]]:
    """What the laws of the gate ask for.

    - ``release(evidence, policy as written, required checks, baseline text or None)``: the `gate.Verdict`;
    - ``baseline(list of evidence)``: text of the file of a last release;
    - ``share_verdict(k, n, least, alpha)``, ``relative_verdict(paired, ann right, limit, alpha)``: PASS, FAIL, INCONCLUSIVE;
    - ``mean_upper(values, reach, alpha)``: upper limit of a mean;
    - ``pass_probability(n, margin, drop, discordance, alpha)``: of a release, by enumeration.
    """
    from ..gate import bounds, policy, rates, release
    from ..gate.baseline import parse, to_text

    def judged(evidence: Any, raw: Mapping[str, Any], required: Any = (), baseline: str | None = None) -> Any:
        return release(evidence, policy(raw), required, None if baseline is None else parse(baseline, "last.json"))

    return {
        "release": judged,
        "baseline": lambda evidence: to_text(evidence, {}),
        "share_verdict": bounds.share_verdict,
        "relative_verdict": bounds.relative_verdict,
        "mean_upper": bounds.mean_upper,
        "pass_probability": rates.pass_probability,
    }
