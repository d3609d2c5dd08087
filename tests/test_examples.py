"""Every example in a docstring runs and says what it shows."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import ktransfer


def modules():
    names = [each.name for each in pkgutil.walk_packages(ktransfer.__path__, "ktransfer.")]
    return [name for name in names if not name.endswith("__main__")]


def examples():
    finder = doctest.DocTestFinder()
    for name in modules():
        module = importlib.import_module(name)
        yield from (test for test in finder.find(module, name) if test.examples)


@pytest.mark.parametrize("example", list(examples()), ids=lambda each: each.name)
def test_example_runs_as_shown(example, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    example.globs["np"] = np
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert (result.failed, result.attempted) == (0, len(example.examples))
