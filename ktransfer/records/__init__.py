"""Plain data and the dataclasses that it is read into."""
