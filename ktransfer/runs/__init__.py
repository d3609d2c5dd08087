"""A run as a folder: its record, its model, what it learnt from, and a training in the making."""
