#!/usr/bin/env bash
# A functional model with the layers of KerasHub's MiT (the encoder of SegFormer) saves without a
# word and cannot be loaded: the layers' configurations do not fit their constructors.
#
# Guess before running: the backbone itself loads, since its own configuration rebuilds it; a model
# cut out of it, as a frozen prefix is, either loads too or is refused when it is saved.
# Seen: the backbone loads; the cut model saves, and loading raises a TypeError, since the encoder
# layer's configuration says `mlp` and `drop_prop`, which its constructor does not take.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow==2.21.0 keras==3.15.1 keras-hub==0.32.0
cd "$work"
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PYTHON'
import keras
import keras_hub

backbone = keras_hub.models.MiTBackbone(
    layerwise_depths=[1, 1],
    num_layers=2,
    layerwise_num_heads=[1, 1],
    layerwise_sr_ratios=[2, 1],
    max_drop_path_rate=0.0,
    layerwise_patch_sizes=[7, 3],
    layerwise_strides=[4, 2],
    image_shape=(32, 32, 3),
    hidden_dims=[8, 16],
)
backbone.save("whole.keras")
keras.models.load_model("whole.keras")
print(f"keras-hub {keras_hub.__version__}: the backbone as a whole can be loaded")

keras.Model(backbone.input, backbone.output).save("cut.keras")
try:
    keras.models.load_model("cut.keras")
except TypeError as error:
    cause = str(error).rsplit("Exception encountered: ", 1)[-1]
    print(f"a functional model of the same layers cannot: {cause[:90]} ...")
    assert "Unrecognized keyword arguments" in cause
    assert "'mlp'" in cause
    assert "'drop_prop'" in cause
else:
    raise SystemExit("it can be loaded now")
PYTHON
