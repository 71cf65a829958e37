"""Collective operations that can be differentiated as often as anyone asks."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup


def gather(name: str, tensor: Tensor, group: ProcessGroup) -> Tensor:
    """Return the tensors of all ranks one behind the other, in the order of the ranks.

    Gradients flow back to every rank: each gets the sum of what arrives for its part on all ranks.

    Raises:
        ValueError: the shapes differ; on every rank, none waits for the others.
    """
    shape = torch.tensor(tensor.shape, device=tensor.device)
    shapes = [torch.empty_like(shape) for _ in range(dist.get_world_size(group))]
    dist.all_gather(shapes, shape, group)
    if any(not torch.equal(other, shape) for other in shapes):
        listed = ", ".join(f"{tuple(s.tolist())} on rank {i}" for i, s in enumerate(shapes))
        raise ValueError(f"{name} must have the same shape on every rank, got {listed}")
    return _Gather.apply(tensor, group)


class _Gather(torch.autograd.Function):
    """x of each rank → the x of all ranks on each."""

    @staticmethod
    def forward(ctx, tensor, group):
        ctx.group = group
        tensor = tensor.contiguous()
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, tensor, group)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient):
        return _SumParts.apply(gradient, ctx.group), None


class _SumParts(torch.autograd.Function):
    """The adjoint of _Gather: to each rank the sum over all ranks of what they have for it."""

    @staticmethod
    def forward(ctx, tensor, group):
        ctx.group = group
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total.chunk(dist.get_world_size(group))[dist.get_rank(group)].clone()

    @staticmethod
    def backward(ctx, gradient):
        return _Gather.apply(gradient, ctx.group), None
