"""The report of a training: how good, why, where it is wrong, what it cost, how to repeat it."""
