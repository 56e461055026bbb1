"""The engine: tensors and index arrays in, tensors out. It knows no labels, no units and no xarray."""
