"""The names of what a head may read; apart, since plans name them without importing Keras."""

#: From the simplest to the widest; each holds all of the one before it.
FEATURE_SETS = ("last", "all_blocks", "all_blocks_and_inner")
