"""Images as labelled parts, from wherever they are, and parts as `tf.data` pipelines.

    splits = read_data("photos/")                         # looks at headers only, decodes nothing
    batches = image_dataset(splits.train, (224, 224))     # (images uint8, indices int32)

Names load on first use (PEP 562), so that `import ktransfer.data` imports neither TensorFlow nor
Pillow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktransfer._lazy import lazy_names

if TYPE_CHECKING:
    from ktransfer.data.batches.pipeline import decodable, explain_failures, image_dataset
    from ktransfer.data.images.decoding import decode_image
    from ktransfer.data.images.files import ImageFiles
    from ktransfer.data.images.header import ImageFile, Skipped
    from ktransfer.data.images.resizing import resize_array
    from ktransfer.data.parts import Part, Splits, joined
    from ktransfer.data.reading.listing import Listing
    from ktransfer.data.reading.paths import read_paths
    from ktransfer.data.sources.front import (
        read_data,
        read_folder,
        read_images,
        read_labelled,
        read_listing,
        read_part,
    )

__all__ = [
    "ImageFile",
    "ImageFiles",
    "Listing",
    "Part",
    "Skipped",
    "Splits",
    "decodable",
    "decode_image",
    "explain_failures",
    "image_dataset",
    "joined",
    "read_data",
    "read_folder",
    "read_images",
    "read_labelled",
    "read_listing",
    "read_part",
    "read_paths",
    "resize_array",
]

_HOME = {
    "ImageFile": "images.header",
    "ImageFiles": "images.files",
    "Listing": "reading.listing",
    "Part": "parts",
    "Skipped": "images.header",
    "Splits": "parts",
    "decodable": "batches.pipeline",
    "decode_image": "images.decoding",
    "explain_failures": "batches.pipeline",
    "image_dataset": "batches.pipeline",
    "joined": "parts",
    "read_data": "sources.front",
    "read_folder": "sources.front",
    "read_images": "sources.front",
    "read_labelled": "sources.front",
    "read_listing": "sources.front",
    "read_part": "sources.front",
    "read_paths": "reading.paths",
    "resize_array": "images.resizing",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
