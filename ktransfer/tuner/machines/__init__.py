"""A search over several machines: the chief has the oracle and the records, workers train."""
