"""Training explained: momentum on a valley, and when to stop, to be tried out in a browser."""
