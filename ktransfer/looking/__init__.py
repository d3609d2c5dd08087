"""A page to look at: images as they are, as the network sees them, and their augmented views."""

from ktransfer.looking.look import Look, look

__all__ = ["Look", "look"]
