"""The GPU engine: Triton kernels, their data on a device, and what launches them."""
