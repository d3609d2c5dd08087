"""Model files that cannot be used: each is one clear error, and none crashes."""

import json
import os

import numpy as np
import onnx
import pytest
import served_models
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ktransfer import InputError, OnnxClassifier, RunError
from ktransfer.files.seal import SEAL_BYTES, BrokenSealError, check_seal, is_sealed, seal
from ktransfer.serving import reading, wire
from ktransfer.serving.reading import read_model

WHOLE = served_models.build().SerializeToString()
SEALED = seal(served_models.build(served_models.describe(sealed=True)).SerializeToString())
BLACK = np.zeros((1, 4, 4, 3), np.uint8)


def refused(tmp_path, content, message):
    file = tmp_path / "model.onnx"
    file.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with pytest.raises(RunError, match=message):
        OnnxClassifier(file).predict(BLACK)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04" + bytes(100), "is no ONNX file that can be run"),
        (b"hello, this is a text\n" * 20, "is no ONNX file that can be run"),
        (WHOLE[:100], "it ends too early"),
        (b"\x08\x08", "it has no graph"),
        (b"\x08" + b"\xff" * 11, "a number of more than 64 bits"),
        (b"\x0b\x08", "byte 0 begins no field"),
    ],
)
def test_what_is_no_onnx_is_said(tmp_path, content, message):
    refused(tmp_path, content, message)


def test_places_that_hold_no_file_are_said(tmp_path):
    served_models.write(tmp_path / "flowers.onnx")
    with pytest.raises(
        RunError, match=r"no such file: .*flower.onnx'; did you mean 'flowers.onnx'"
    ):
        OnnxClassifier(tmp_path / "flower.onnx")
    with pytest.raises(RunError, match="folder, not a file"):
        OnnxClassifier(tmp_path)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(RunError, match="named pipe"):
        OnnxClassifier(tmp_path / "pipe.onnx")


def test_a_file_of_more_than_protobuf_holds_is_not_read(tmp_path):
    with (tmp_path / "huge.onnx").open("wb") as stream:
        stream.truncate(reading.MAX_MODEL_MB * 2**20 + 1)  # no blocks on the disk
    with pytest.raises(RunError, match="larger than 2,048 MB"):
        OnnxClassifier(tmp_path / "huge.onnx")


def test_a_file_made_of_countless_parts_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(wire, "MAX_FIELDS", 1_000)
    refused(tmp_path, WHOLE + b"\x08\x08" * 1_000, "more than 1,000 parts")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 3}, "it has format 3; this version of ktransfer reads format 1"),
        ({"format": True}, "it has format True"),
        ({"class_names": "abc"}, "'class_names' of its metadata is missing or no list"),
        ({"class_names": ["a", 2, "c"]}, "are no names"),
        ({"class_names": ["a", "b", "a"]}, "name a class twice"),
        ({"class_names": ["a", "b"]}, "it has 3 outputs for 2 classes"),
        ({"input_size": [16]}, "input_size of its metadata is no height and width"),
        ({"input_size": [16, 10**9]}, "input_size of its metadata is no height and width"),
        ({"input_size": [16.0, 12.0]}, "input_size of its metadata is no height and width"),
        ({"resizing": None}, "'resizing' of its metadata is missing or no str"),
        ({"versions": 1}, "'versions' of its metadata is no dict"),
        ({"sealed": True}, "its end, with the checksum, is missing"),
    ],
)
def test_metadata_that_cannot_be_trusted_is_refused(tmp_path, changes, message):
    refused(tmp_path, served_models.build(served_models.describe(**changes)), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "its metadata is no JSON"),
        ("[" * 100_000, "its metadata is no JSON"),
        ("[1]", "its metadata names no format"),
        ("9" * 5_000, "its metadata is no JSON"),
        (" " * (17 * 2**20), "larger than 16 MB"),
    ],
    ids=["cut", "deep", "list", "digits", "large"],
)
def test_metadata_that_is_none_is_refused(tmp_path, text, message):
    refused(tmp_path, served_models.build(props={"ktransfer": text}), message)


def test_a_file_of_another_producer_is_told_what_it_lacks(tmp_path):
    refused(tmp_path, served_models.build(props={"other": "1"}), "has no metadata 'ktransfer'")


def test_another_network_than_an_export_is_refused(tmp_path):
    refused(tmp_path, served_models.build(output="scores"), r"scores \(tensor\(float\) of rank 2\)")
    nodes = [helper.make_node("Nonsense", ["images"], ["probabilities"])]
    refused(tmp_path, served_models.build(nodes=nodes), "onnxruntime cannot load it")


def test_a_class_count_that_the_graph_leaves_open_is_checked_when_it_runs(tmp_path):
    model = served_models.build(output="scores")
    model.graph.initializer.append(numpy_helper.from_array(np.array([True, True, False]), "kept"))
    # How many columns are kept, the graph does not say.
    node = helper.make_node("Compress", ["scores", "kept"], ["probabilities"], axis=1)
    model.graph.node.append(node)
    model.graph.output[0].name = "probabilities"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "classes"
    refused(tmp_path, model, r"an output of shape \(1, 2\), expected \(1, 3\)")


def test_a_file_that_onnxruntime_cannot_even_name_prints_nothing(tmp_path, capfd):
    refused(tmp_path, WHOLE.replace(b"MatMul", b"Mat\x80ul"), "onnxruntime cannot load it")
    assert capfd.readouterr() == ("", "")


def test_ends_whose_names_are_no_text_are_refused(tmp_path):
    content = WHOLE.replace(b"images", b"im\x80ges")
    refused(tmp_path, content, "the names of its inputs and outputs are no text")


def external(tensor, location):
    """The tensor with its numbers in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def in_initializer(model):
    return model.graph.initializer[0]


def in_attribute(model):
    node = model.graph.node.add(op_type="Constant", output=["unused"])
    node.attribute.append(helper.make_attribute("value", served_tensor()))
    return node.attribute[0].t


def in_subgraph(model):
    branch = helper.make_graph([], "branch", [], [], [served_tensor()])
    node = model.graph.node.add(op_type="If", input=["c"], output=["unused"])
    node.attribute.append(helper.make_attribute("then_branch", branch))
    return node.attribute[0].g.initializer[0]


def served_tensor():
    return numpy_helper.from_array(np.ones((2, 2), np.float32), "more")


@pytest.mark.parametrize("place", [in_initializer, in_attribute, in_subgraph])
@pytest.mark.parametrize("location", ["weights.bin", "../../etc/passwd", "/etc/passwd"])
def test_weights_in_other_files_are_never_read(tmp_path, place, location):
    model = served_models.build()
    external(place(model), location)
    refused(tmp_path, model, "keeps weights in other files")


def test_weights_in_another_file_are_refused_without_their_location_mark(tmp_path):
    model = served_models.build()
    external(model.graph.initializer[0], "weights.bin").ClearField("data_location")
    refused(tmp_path, model, "keeps weights in other files")


def test_operators_of_a_library_are_refused(tmp_path):
    nodes = [helper.make_node("Run", ["images"], ["probabilities"], domain="my.library")]
    refused(tmp_path, served_models.build(nodes=nodes), "an operator of 'my.library'")


def test_the_walk_goes_wherever_onnx_may_keep_a_tensor():
    """Every way from a model to a tensor, by ONNX's own description of its messages."""
    names = {
        "ModelProto": "model",
        "GraphProto": "graph",
        "NodeProto": "node",
        "AttributeProto": "attribute",
        "TensorProto": "tensor",
        "SparseTensorProto": "sparse",
        "FunctionProto": "function",
        "TrainingInfoProto": "training",
    }
    found, stack = {}, [onnx.ModelProto.DESCRIPTOR]
    while stack:
        kind = stack.pop()
        if kind.name in found:
            continue
        below = [each for each in kind.fields if each.message_type]
        found[kind.name] = {each.number: each.message_type.name for each in below}
        stack += [each.message_type for each in below]
    walked = {
        names[kind]: {number: names[name] for number, name in below.items() if name in names}
        for kind, below in found.items()
        if kind in names
    }
    assert walked == wire._INSIDE


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    file = served_models.write(tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r'pip install "ktransfer\[onnx\]"'):
        OnnxClassifier(file)


def test_a_sealed_file_is_read_by_onnx_and_by_us(tmp_path):
    file = tmp_path / "sealed.onnx"
    file.write_bytes(SEALED)
    onnx.checker.check_model(onnx.load(file))
    assert OnnxClassifier(file).predict(BLACK).probabilities.shape == (1, 3)
    assert len(SEALED) == SEAL_BYTES + len(SEALED[:-SEAL_BYTES])
    assert onnx.load(file).metadata_props[-1].key == "ktransfer_sha256"


def test_a_sealed_file_is_checked_though_it_does_not_say_that_it_is(tmp_path):
    refused(tmp_path, seal(WHOLE).replace(b"0.1.0", b"0.1.1"), "it is not what was exported")


def test_a_seal_holds_for_these_bytes_only():
    check_seal(SEALED)
    assert not is_sealed(WHOLE)
    with pytest.raises(BrokenSealError, match="is missing"):
        check_seal(WHOLE)
    with pytest.raises(BrokenSealError, match="not what was exported"):
        check_seal(b"\x08\x07" + SEALED[2:])


def damaged(content, edits):
    changed = bytearray(content)
    for at, kind, value in edits:
        place = at % max(1, len(changed))
        if kind == "set" and changed:
            changed[place] = value
        elif kind == "cut":
            del changed[place : place + value]
        else:
            changed[place:place] = bytes([value])
    return bytes(changed)


EDITS = st.lists(
    st.tuples(
        st.integers(0, 10_000), st.sampled_from(["set", "cut", "insert"]), st.integers(0, 255)
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=300, deadline=None, database=None)
@given(edits=EDITS)
def test_a_damaged_sealed_file_is_always_an_error(tmp_path_factory, edits):
    content = damaged(SEALED, edits)
    file = tmp_path_factory.getbasetemp() / "fuzzed.onnx"
    file.write_bytes(content)
    if content != SEALED:
        with pytest.raises(RunError):
            read_model(file)


@settings(max_examples=150, deadline=None, database=None)
@given(edits=EDITS)
def test_a_damaged_file_without_a_seal_is_an_error_or_a_network(tmp_path_factory, edits):
    file = tmp_path_factory.getbasetemp() / "fuzzed.onnx"
    file.write_bytes(damaged(WHOLE, edits))
    try:
        found = OnnxClassifier(file, num_threads=1).predict(BLACK)
    except RunError:
        return
    assert found.probabilities.shape == (1, len(found.classes))


@settings(max_examples=200, deadline=None, database=None)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_an_error(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "fuzzed.onnx"
    file.write_bytes(content)
    with pytest.raises(RunError):
        read_model(file)


def test_metadata_is_what_onnx_reads():
    expected = {each.key: each.value for each in onnx.load_from_string(SEALED).metadata_props}
    found = wire.read_metadata(memoryview(SEALED))
    assert {key: value.decode() for key, value in found.items()} == expected
    assert json.loads(found["ktransfer"])["class_names"] == list(served_models.CLASSES)
