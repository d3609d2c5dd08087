"""Files of the format safetensors; one of them was written by the package of that name."""

import json
from pathlib import Path

import numpy as np
import pytest

from ktransfer.errors import RunError
from ktransfer.files.archives import DamageError
from ktransfer.files.safetensors import read_safetensors

SMALL = Path(__file__).parents[1] / "backbones" / "small.safetensors"
ROW = np.array([[0.5, -1.0, 3.25], [1e-3, 65_000.0, -0.1]])


def written(path, header, numbers=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return path


def entry(kind="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": kind, "shape": list(shape), "data_offsets": list(offsets)}


def test_what_the_package_wrote_is_read_number_by_number():
    found = read_safetensors(SMALL)
    assert set(found) == {"single", "half", "brain", "double", "count", "empty"}
    np.testing.assert_array_equal(found["single"], ROW.astype("float32"))
    np.testing.assert_array_equal(found["half"], ROW.astype("float16"))
    np.testing.assert_array_equal(found["double"], ROW.astype("float32").astype("float64"))
    # bfloat16 keeps 8 bits of the mantissa.
    np.testing.assert_allclose(found["brain"], ROW, rtol=2**-8)
    assert found["brain"].dtype == np.float32
    assert not np.array_equal(found["brain"], ROW.astype("float32"))
    assert found["count"] == 100
    assert found["empty"].shape == (0, 3)


@pytest.mark.parametrize(
    ("header", "numbers", "message"),
    [
        (b"no JSON", b"", "its header cannot be read"),
        ([1], b"", "its header is no JSON object"),
        ({"a": {"dtype": "F32"}}, b"", "does not say what 'a' is"),
        ({"a": entry(shape=(-2,))}, bytes(8), "does not say what 'a' is"),
        ({"a": entry(kind="F8_E4M3")}, bytes(8), "of an unknown kind, 'F8_E4M3'"),
        ({"a": entry(shape=(3,))}, bytes(8), r"not as large as its shape \[3\] says"),
        ({"a": entry(), "b": entry()}, bytes(8), "overlap, or leave gaps"),
        ({"a": entry(offsets=(4, 12))}, bytes(12), "overlap, or leave gaps"),
        ({"a": entry()}, bytes(9), "holds 9 bytes of numbers, and its header says 8"),
        ({"a": entry()}, bytes(5), "holds 5 bytes of numbers, and its header says 8"),
        (b'{"a": 1, "a": 2}', b"", "'a' is given twice"),
    ],
)
def test_a_damaged_file_says_what_is_wrong(tmp_path, header, numbers, message):
    with pytest.raises(DamageError, match=message):
        read_safetensors(written(tmp_path / "bad.safetensors", header, numbers))


@pytest.mark.parametrize("contents", [b"", b"\x01", (10**12).to_bytes(8, "little") + b"{}"])
def test_a_file_cut_off_in_its_header_is_refused(tmp_path, contents):
    (tmp_path / "cut.safetensors").write_bytes(contents)
    with pytest.raises(DamageError, match="no safetensors file, or was cut off"):
        read_safetensors(tmp_path / "cut.safetensors")


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"none\.safetensors cannot be read"):
        read_safetensors(tmp_path / "none.safetensors")
