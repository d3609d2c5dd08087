"""Damaged files of every kind: one clear error, or what was there before.

`python tests/fuzz/run_folders.py` does thousands; its figures are in benchmarks/results/fuzz.md.
"""

import pytest
from cases import FORGED, OTHER, REFUSED, SAME, attempt, make_base

CASES, SEED = 150, 1


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


def test_damaged_files_are_refused_or_change_nothing(base):
    found = [attempt(base, number, SEED) for number in range(CASES)]
    assert [(number, each[2]) for number, each in enumerate(found) if each[2]] == []
    assert {each[1] for each in found} <= {REFUSED, SAME, OTHER, FORGED}
    # Most damage is seen, and some of it says nothing, such as the times in an archive.
    assert sum(each[1] == REFUSED for each in found) > CASES / 2
