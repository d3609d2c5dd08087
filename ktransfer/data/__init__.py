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
    from ktransfer.data.decoding import decode_image
    from ktransfer.data.files import ImageFiles
    from ktransfer.data.folder import read_folder, read_part, read_paths
    from ktransfer.data.images import ImageFile, Skipped
    from ktransfer.data.listing import Listing, read_listing
    from ktransfer.data.parts import Part, Splits, joined
    from ktransfer.data.pipeline import decodable, explain_failures, image_dataset
    from ktransfer.data.resizing import resize_array
    from ktransfer.data.sources import read_data, read_images, read_labelled

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
    "ImageFile": "images",
    "ImageFiles": "files",
    "Listing": "listing",
    "Part": "parts",
    "Skipped": "images",
    "Splits": "parts",
    "decodable": "pipeline",
    "decode_image": "decoding",
    "explain_failures": "pipeline",
    "image_dataset": "pipeline",
    "joined": "parts",
    "read_data": "sources",
    "read_folder": "folder",
    "read_images": "sources",
    "read_labelled": "sources",
    "read_listing": "listing",
    "read_part": "folder",
    "read_paths": "folder",
    "resize_array": "resizing",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
