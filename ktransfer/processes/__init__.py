"""Processes: how ours begin and end, how many threads they compute in, and Keras' settings."""
