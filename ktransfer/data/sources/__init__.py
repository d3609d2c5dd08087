"""The kinds of sources of images, each in a file of its own; `front` is the front door."""
