"""Import of torch models: the corpus."""

import pytest

from snnverify.checks import select


@pytest.mark.parametrize("check", select("importer.*"), ids=lambda c: c.name)
def test_importer(check, verify):
    verify(check)
