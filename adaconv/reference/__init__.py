"""The specification of every operator, in plain differentiable PyTorch.

These functions run on any device and dtype, export to ONNX, and are what every kernel is tested
against. They write the per-pixel weights to memory: that is what the other backends exist to avoid.
"""
