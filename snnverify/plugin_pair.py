"""Fixtures about a pair of nets: one before its conversion to binary spikes, and what it became."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .errors import SnnverifyError
from .plugin import FINDINGS, asked, conclude

if TYPE_CHECKING:
    from .detector.compare import Pair

NAMES = ("--before", "--after")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse half a pair, and files that are not there, before anything is collected."""
    files = {name: asked(config, name) for name in NAMES}
    lacking = [name for name, file in files.items() if file is None]
    if len(lacking) == 1:
        raise pytest.UsageError(f"{lacking[0]} is missing: a pair is --before FILE and --after FILE")
    for name, file in files.items():
        if file is not None and not Path(file).is_file():
            raise pytest.UsageError(f"{name} {file}: there is no such file")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread a suite over the laws of a pair; without a pair one skip says how to give it."""
    if "law_name" not in metafunc.fixturenames:
        return
    laws: list[Any] = []
    if asked(metafunc.config, "--before") is None:
        why = pytest.mark.skip(reason="no pair of nets; give --before FILE and --after FILE")
        laws = [pytest.param("", marks=why, id="no pair")]
    else:
        from .detector.behave import LAWS

        laws = [law.__name__ for law in LAWS]
    metafunc.parametrize("law_name", laws)


@pytest.fixture(scope="session")
def binary_pair(request: pytest.FixtureRequest) -> tuple[Pair, Pair]:
    """Return the pair as it is stored, and in float32 with the images that it is run on."""
    from .detector.verify import opened

    before, after, data, size, model = (asked(request.config, n) for n in (*NAMES, "--data", "--img-size", "--model"))
    try:
        return opened(Path(before), Path(after), data=data, size=size, model=model)
    except SnnverifyError as e:
        raise pytest.fail.Exception(str(e), pytrace=False) from None


@pytest.fixture
def verify_pair(binary_pair: tuple[Pair, Pair], request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that holds the pair to one law.

    A law that cannot be asked of these nets fails: what was not shown does not hold. ``-k "not LAW"`` leaves it out on
    purpose.
    """
    from .detector.behave import LAWS
    from .detector.verify import judged

    def judge(name: str) -> None:
        law = next(law for law in LAWS if law.__name__ == name)
        (finding,) = judged(*binary_pair, Path(asked(request.config, "--after")).name, [law])
        if finding.outcome == "unsupported":
            request.config.stash.setdefault(FINDINGS, []).append(finding)
            pytest.fail(f'unsupported: {finding.message}; -k "not {name}" leaves the law out', pytrace=False)
        conclude(finding, request.config)

    return judge
