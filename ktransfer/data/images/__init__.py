"""One image: its header, its pixels, their range, and their way to the network's size."""
