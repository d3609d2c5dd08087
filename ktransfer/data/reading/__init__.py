"""From wherever people have images to labelled parts: folders, tables, arrays, data sets.

`sources` is the front door. Only headers are read here.
"""
