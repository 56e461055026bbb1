"""The engine: arrays and tensors in, arrays and tensors out. It knows no labels, no units and no xarray.

`backends` says who routes on which device; `cpu` and `gpu` are the two that there are, and `autograd` gives tensors gradients.
What they share: `arrays`, what goes in and comes out; `plan`, the order in which reaches can be routed, which `schedule` cuts
for the CPU's threads and `patches` for a GPU's programs; `kernels`, how functions are compiled. `reference` is the truth that
all are tested against.
"""
