"""Models that leave the library: files that other programs read."""
