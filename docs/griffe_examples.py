"""Lets the reference show the examples of docstrings as code: here they stand under `Example:`."""

import re
from typing import Any

from griffe import Extension, Object


class Examples(Extension):
    """Call the section as Griffe does."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rename the section in the docstring of what was just collected."""
        if obj.docstring:
            text = obj.docstring.value
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
