"""How folders, tables, arrays and data sets are read: the tools of `data.sources`.

Only headers are read here.
"""
