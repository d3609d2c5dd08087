"""The version, apart: what writes it down need not import the package."""

__version__ = "0.1.0"
