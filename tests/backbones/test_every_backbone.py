"""Every backbone there is: fitted, saved, loaded in a new process, exported."""

import json

import pytest

small_backbones = pytest.importorskip("small_backbones")
import every_backbone  # noqa: E402  # it needs KerasHub, too

#: What other software makes of them, and we can only say.
NO_ONNX = {"keras_hub.MiTBackbone", "keras_hub.SegFormerBackbone"}
REFUSED = {"keras_hub.BASNetBackbone", "keras_hub.DFineBackbone"} | {
    small_backbones.HUB + each for each in small_backbones.OTHERS
}


@pytest.mark.slow
@pytest.mark.parametrize("names", every_backbone.pieces(small_backbones.names()), ids="-".join)
def test_backbone_is_fitted_saved_loaded_elsewhere_and_exported(names):
    for name, found in every_backbone.tried(names).items():
        assert ("refused" in found) == (name in REFUSED), (name, found)
        if name in REFUSED:
            continue
        for each in ("probe", "last_blocks", "probe_loaded", "last_blocks_loaded"):
            assert found[each] == "yes", (name, found)
        assert (found["onnx"] == "yes") == (name not in NO_ONNX), (name, found)


def test_every_image_backbone_of_keras_hub_is_written_down():
    known = set(small_backbones.SMALL) | set(small_backbones.OTHERS)
    assert set(small_backbones.hub_classes()) == known
    assert not set(small_backbones.SMALL) & set(small_backbones.OTHERS)


def test_the_page_has_a_row_for_every_backbone_and_is_made_of_the_results():
    results = json.loads(every_backbone.RESULTS.read_text())
    assert list(results["backbones"]) == small_backbones.names()
    assert every_backbone.PAGE.read_text() == every_backbone.page(results)
