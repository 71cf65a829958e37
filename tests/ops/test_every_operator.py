"""What every operator keeps, whatever it computes: derivatives, determinism, transforms."""

import itertools

import adaptive_conv_cases
import adaptive_separable_cases
import dynamic_conv_cases
import local_adaptive_cases
import pytest
import torch
from conv_contract import gradient_of, normal, results
from minibatch_discrimination_cases import Samples
from spectral_norm_cases import Weights

import adaconv

Adaptive = adaptive_conv_cases.Case
Separable = adaptive_separable_cases.Case
Dynamic = dynamic_conv_cases.Case
Local = local_adaptive_cases.Case
PADDED = {"padding": 1}
ODD = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}

#: Calls small enough to be differentiated value by value.
SMALL = {
    "adaptive_conv": Adaptive(2, 2, 2, (4, 3), (2, 3), 2, 2, options=ODD),
    "adaptive_separable": Separable(2, 2, 3, (4, 3), (2, 3), 2, options=ODD),
    "dynamic_conv": Dynamic(2, 2, 2, (4, 3), (2, 3), options=ODD),
    "local_adaptive": Local(2, 2, 2, (4, 3), (2, 3), 2, pitch=2, options=ODD),
    "minibatch_discrimination": Samples(((4, 3, 2),)),
    "minibatch_discrimination, two sets": Samples(((4, 3, 2), (3, 3, 2))),
    "spectral_norm": Weights(((3, 2, 2), (2, 4))),
}

#: Calls that are cut into several tasks for several threads.
LARGE = {
    "adaptive_conv": Adaptive(2, 32, 16, (16, 16), (3, 3), 32, options=PADDED),
    "adaptive_conv, any geometry": Adaptive(
        2, 3, 4, (7, 9), (3, 2), 5, 2, options={**ODD, "upsample": 2, "negative_slope": 0.5}
    ),
    "adaptive_separable": Separable(2, 32, 16, (16, 16), (3, 3), 32, options=PADDED),
    "adaptive_separable, any geometry": Separable(
        2, 4, 6, (7, 9), (3, 2), 5, 2, options={**ODD, "upsample": 2, "negative_slope": 0.5}
    ),
    "dynamic_conv": Dynamic(2, 9, 5, (16, 17), options=PADDED),
    "dynamic_conv, depthwise": Dynamic(
        2, 1, 12, (9, 11), (3, 5), groups=6, options={"stride": (2, 1), "padding": 2}
    ),
    "dynamic_conv, shared": Dynamic(2, 2, 3, (12, 9), groups=12, options=PADDED),
    "local_adaptive": Local(2, 32, 16, (16, 16), (3, 3), 32, options=PADDED),
    "local_adaptive, any geometry": Local(
        2, 3, 4, (7, 9), (3, 2), 5, 2, 9, 3, options={**ODD, "upsample": 2, "negative_slope": 0.5}
    ),
    "minibatch_discrimination": Samples(((70, 9, 5),)),
    "spectral_norm": Weights(((70, 1000), (33, 9, 5)), 1),
}

EMPTY = {
    "adaptive_conv": Adaptive(0),
    "adaptive_separable": Separable(0),
    "dynamic_conv": Dynamic(0),
    "local_adaptive": Local(0),
    "minibatch_discrimination": Samples(((0, 3, 2),)),
}


def of_each(cases):
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


def stored_strangely(tensor):
    """The same values with holes between them and the dimensions in another order."""
    holes = tensor.permute(*reversed(range(tensor.dim()))).repeat_interleave(2, 0).contiguous()
    return holes[::2].permute(*reversed(range(tensor.dim())))


@of_each(LARGE)
def test_any_strides(backend, case):
    tensors = case.tensors(normal(0))
    strange = [stored_strangely(t) for t in tensors]
    assert not any(t.is_contiguous() for t in strange)
    expected = results(case, tensors, gradient_of, backend)
    found = results(case, strange, lambda y: stored_strangely(gradient_of(y)), backend)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@of_each(LARGE)
def test_expanded_inputs(backend, case):
    expanded = [t[..., :1].expand_as(t) for t in case.tensors(normal(1))]
    dense = [t.contiguous() for t in expanded]
    expected = results(case, dense, gradient_of, backend)
    torch.testing.assert_close(
        results(case, expanded, gradient_of, backend), expected, rtol=1e-12, atol=1e-12
    )


@of_each(EMPTY)
def test_empty_batch(backend, case):
    y, *gradients = results(case, case.tensors(normal(2)), torch.ones_like, backend)
    assert len(y) == 0
    assert all(torch.equal(g, torch.zeros_like(g)) for g in gradients)


@of_each(LARGE)
def test_same_bits_every_time(cpu_backend, case):
    """At a number of threads; between two numbers the order of summation may differ."""
    tensors = [t.float() for t in case.tensors(normal(3))]
    first = results(case, tensors, gradient_of, cpu_backend)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            once, again = (results(case, tensors, gradient_of, cpu_backend) for _ in range(2))
            assert all(map(torch.equal, once, again))
            torch.testing.assert_close(once, first, rtol=1e-4, atol=1e-4)
    finally:
        torch.set_num_threads(threads)


@of_each(LARGE)
def test_uninitialised_memory_is_not_read(cpu_backend, case, request):
    tensors = case.tensors(normal(4))
    expected = results(case, tensors, gradient_of, cpu_backend)
    request.getfixturevalue("poisoned")
    assert all(map(torch.equal, results(case, tensors, gradient_of, cpu_backend), expected))


def cubes(y):
    """Of these no derivative is constant."""
    return (y**3).sum()


@of_each(SMALL)
def test_third_order(cpu_backend, case):
    def third(backend):
        tensors = [t.requires_grad_() for t in case.tensors(normal(10))]
        value = cubes(case.call(tensors, backend))
        for create_graph in (True, True, False):
            found = torch.autograd.grad(value, tensors, create_graph=create_graph)
            value = sum((g**2).sum() for g in found)
        return found

    torch.testing.assert_close(third(cpu_backend), third("reference"), rtol=1e-9, atol=1e-9)


@of_each(SMALL)
def test_one_gradient_alone(backend, case):
    tensors = case.tensors(normal(11))
    _, *expected = results(case, tensors, gradient_of, backend)
    for place, want in enumerate(expected):
        given = [t.detach() for t in tensors]
        given[place].requires_grad_()
        y = case.call(given, backend)
        (got,) = torch.autograd.grad(y, given[place], gradient_of(y))
        torch.testing.assert_close(got, want, rtol=0, atol=0)


@of_each(SMALL)
def test_one_second_derivative_alone(cpu_backend, case):
    """The gradient in one argument of one gradient; the others are not asked for."""

    def derivative(backend, first, second):
        tensors = case.tensors(normal(12))
        for place in {first, second}:
            tensors[place].requires_grad_()
        y = case.call(tensors, backend)
        (g,) = torch.autograd.grad(cubes(y), tensors[first], create_graph=True)
        return torch.autograd.grad((g**2).sum(), tensors[second])[0]

    places = range(len(case.tensors(normal(12))))
    for pair in itertools.product(places, places):
        torch.testing.assert_close(derivative(cpu_backend, *pair), derivative("reference", *pair))


@of_each(SMALL)
def test_torch_func(cpu_backend, case):
    """What torch.func differentiates goes through the reference; a named backend says so."""
    tensors = case.tensors(normal(5))

    def loss(*tensors, backend=None):
        return case.call(tensors, backend).sin().sum()

    every = tuple(range(len(tensors)))
    leaves = [t.clone().requires_grad_() for t in tensors]
    expected = torch.autograd.grad(loss(*leaves), leaves)
    torch.testing.assert_close(torch.func.grad(loss, every)(*tensors), expected)
    want = torch.autograd.functional.jacobian(
        lambda t: case.call([t, *tensors[1:]], cpu_backend), tensors[0]
    )
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        got = jacobian(lambda t: case.call([t, *tensors[1:]], None))(tensors[0])
        torch.testing.assert_close(got, want)
    per_sample = torch.func.vmap(torch.func.grad(loss, every))(*(t[None] for t in tensors))
    torch.testing.assert_close([g[0] for g in per_sample], list(expected))
    with pytest.raises(adaconv.BackendError, match="cannot be differentiated by torch"):
        torch.func.grad(lambda t: loss(t, *tensors[1:], backend=cpu_backend))(tensors[0])


@of_each(SMALL)
def test_vmap(cpu_backend, case):
    """Of a call, and of one whose tensors partly have a batch."""
    tensors, others = case.tensors(normal(6)), case.tensors(normal(7))

    def call(*tensors):
        return case.call(tensors, cpu_backend)

    expected = torch.stack([call(*tensors), call(*others)])
    pairs = [torch.stack(pair, -1) for pair in zip(tensors, others, strict=True)]
    torch.testing.assert_close(torch.func.vmap(call, -1)(*pairs), expected)
    found = torch.func.vmap(lambda t: call(t, *tensors[1:]))(torch.stack([tensors[0], others[0]]))
    torch.testing.assert_close(found, torch.stack([expected[0], call(others[0], *tensors[1:])]))


# PyTorch has no batches of gradients for operators that return lists.
@of_each({name: case for name, case in SMALL.items() if name != "spectral_norm"})
def test_batches_of_gradients(cpu_backend, case):
    leaves = [t.requires_grad_() for t in case.tensors(normal(9))]
    y = case.call(leaves, cpu_backend)
    several = torch.stack([gradient_of(y), torch.ones_like(y)])
    got = torch.autograd.grad(y, leaves, several, is_grads_batched=True, retain_graph=True)
    want = [torch.autograd.grad(y, leaves, g, retain_graph=True) for g in several]
    for ours, theirs in zip(got, zip(*want, strict=True), strict=True):
        torch.testing.assert_close(ours, torch.stack(theirs))


@of_each(SMALL)
def test_second_derivatives_ignore_autocast(cpu_backend, case):
    tensors = [t.float().requires_grad_() for t in case.tensors(normal(8))]

    def second(enabled):
        first = torch.autograd.grad(
            case.call(tensors, cpu_backend).square().sum(), tensors, create_graph=True
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            return torch.autograd.grad(sum(g.square().sum() for g in first), tensors)

    torch.testing.assert_close(second(True), second(False))
