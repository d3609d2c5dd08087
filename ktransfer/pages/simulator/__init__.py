"""The freeze simulator: what a plan freezes, trains and costs, to be tried out in a browser."""
