#!/usr/bin/env bash
# SigLIPVisionEncoder's embedding declares one token more than it returns.
#
# Guess before running: the declared and the computed number of tokens agree, as for ViT; SigLIP has
# no class token, so 14 x 14 patches of a 224 px image at 16 px give 196 in both.
# Seen: 197 declared, 196 returned. Whoever sizes a buffer by `compute_output_shape` is one row off.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow==2.21.0 keras==3.15.1 keras-hub==0.32.0
cd "$work"
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PYTHON'
import keras
import keras_hub
import numpy as np

encoder = keras_hub.models.SigLIPVisionEncoder(
    patch_size=16, hidden_dim=8, num_layers=1, num_heads=2, intermediate_dim=16
)
tokens = keras.Model(encoder.input, encoder.get_layer("embedding").output)
declared = tokens.output_shape[1]
returned = tokens.predict({"images": np.zeros((1, 224, 224, 3), "float32")}, verbose=0).shape[1]
print(f"keras-hub {keras_hub.__version__}: declared {declared}, returned {returned}")
assert (declared, returned) == (197, 196)
PYTHON
