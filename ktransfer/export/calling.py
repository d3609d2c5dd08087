"""How an export is called, in a few lines of Python that run as they stand."""

from __future__ import annotations

import json

_IMAGE = 'Image.open("photo.jpg")'
_PIXELS = f'np.asarray(ImageOps.exif_transpose({_IMAGE}).convert("RGB"))[None]'
_SAY = "print(names[probabilities.argmax()], probabilities.max())"
_PILLOW = "from PIL import Image, ImageOps"


def example(name: str, format: str, input_size: tuple[int, int]) -> list[str]:
    """Return the lines: imports, then five that classify `photo.jpg`.

    Args:
        name: of the file or folder.
        format: `"onnx"`, `"litert"`, `"savedmodel"` or `"keras"`.
        input_size: height and width that the network sees.
    """
    return {"onnx": _onnx, "litert": _litert, "savedmodel": _savedmodel, "keras": _keras}[format](
        json.dumps(name, ensure_ascii=False), input_size
    )


def packages(format: str) -> str:
    """Say what is to be installed for it."""
    return {
        "onnx": "onnxruntime pillow",
        "litert": "ai-edge-litert pillow",
        "savedmodel": "tensorflow pillow",
        "keras": "ktransfer",
    }[format]


def _onnx(name: str, _: tuple[int, int]) -> list[str]:
    return [
        "import json",
        "import numpy as np, onnxruntime",
        _PILLOW,
        "",
        f"session = onnxruntime.InferenceSession({name})",
        'names = json.loads(session.get_modelmeta().custom_metadata_map["ktransfer"])'
        '["class_names"]',
        f"image = {_PIXELS}",
        'probabilities = session.run(None, {"images": image})[0][0]',
        _SAY,
    ]


def _litert(name: str, _: tuple[int, int]) -> list[str]:
    return [
        "import json, zipfile",
        "import numpy as np",
        "from ai_edge_litert.interpreter import Interpreter",
        _PILLOW,
        "",
        f"classify = Interpreter({name}).get_signature_runner()",
        f'names = json.loads(zipfile.ZipFile({name}).read("ktransfer.json"))["class_names"]',
        f"image = {_PIXELS}",
        'probabilities = classify(images=image)["probabilities"][0]',
        _SAY,
    ]


def _savedmodel(name: str, _: tuple[int, int]) -> list[str]:
    return [
        "import numpy as np, tensorflow as tf",
        _PILLOW,
        "",
        f"model = tf.saved_model.load({name})",
        'names = [each.decode() for each in model.names()["class_names"].numpy()]',
        f"image = tf.constant({_PIXELS})",
        'probabilities = model.serve(image)["probabilities"][0].numpy()',
        _SAY,
    ]


def _keras(name: str, input_size: tuple[int, int]) -> list[str]:
    return [
        "import json, zipfile",
        "import keras, numpy as np",
        "from ktransfer.data import resize_array",
        _PILLOW,
        "",
        f"model = keras.models.load_model({name})",
        f'names = json.loads(zipfile.ZipFile({name}).read("ktransfer.json"))["class_names"]',
        f"image = {_PIXELS}",
        f"probabilities = model.predict(resize_array(image, {input_size}), verbose=0)[0]",
        _SAY,
    ]
