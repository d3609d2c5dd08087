"""Files of ours: read only where they are plain and bounded, written whole or not at all.

`reading` opens, `writing` puts in place what people ask for, `formulas` keeps cells of CSV files
from being formulas, `archives` looks archives and weights through before a library reads them,
`archiving` writes them, `seal` closes an ONNX file, `scratch` has folders to work in.
"""
