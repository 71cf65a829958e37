"""Minibatch discrimination across the ranks of a process group: two processes under gloo."""

import pickle

import pytest
import torch
import torch.distributed as dist
from minibatch_discrimination_cases import drawn
from processes import HERE, run

from adaconv import backends, minibatch_discrimination
from adaconv.nn import MinibatchDiscrimination

RANKS = 2
BACKENDS = ("cpu", "reference")
WHOLE = (6, 4, 3, 2)


def objective(sets, **options):
    """Return a value, and its gradients and those of a penalty on them."""
    outputs = [
        minibatch_discrimination(sets[0], **options),
        minibatch_discrimination(sets[0], exclude_self=False, **options),
        minibatch_discrimination(*sets, **options),
    ]
    value = sum((o**2).sum() for o in outputs)
    first = torch.autograd.grad(value, sets, create_graph=True)
    second = torch.autograd.grad(sum((g**3).sum() for g in first), sets)
    return [torch.cat([o.detach() for o in outputs], 1), *(g.detach() for g in first), *second]


def of_rank(sets, rank):
    return [t.detach().chunk(RANKS)[rank].requires_grad_() for t in sets]


def work(rank, folder):
    """What one rank does, in a process of its own."""
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    group = dist.group.WORLD
    found = {}
    for backend in BACKENDS:
        if backends("minibatch_discrimination")[backend] is not None:
            continue
        found[backend] = objective(of_rank(drawn(WHOLE), rank), group=group, backend=backend)
    try:
        minibatch_discrimination(torch.zeros(2 + rank, 3, 2), group=group)
    except ValueError as error:
        found["unequal"] = str(error)
    torch.manual_seed(0)
    module = MinibatchDiscrimination(4, 3, 2, group=group)
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    found["module"] = module(x.chunk(RANKS)[rank]).detach()
    with open(f"{folder}/{rank}", "wb") as file:
        pickle.dump(found, file)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return what each rank found."""
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("this PyTorch has no gloo")
    folder = tmp_path_factory.mktemp("ranks")
    code = (
        "import sys, torch.multiprocessing as mp, test_minibatch_discrimination_ranks as ranks; "
        f"mp.spawn(ranks.work, (sys.argv[1],), {RANKS})"
    )
    done = run("-c", f"import sys; sys.path.insert(0, {str(HERE)!r}); {code}", str(folder))
    assert done.returncode == 0, done.stderr
    return [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(RANKS)]


@pytest.mark.parametrize("name", BACKENDS)
def test_equals_one_process_on_the_whole_batch(found, name, request):
    if name == "cpu":
        request.getfixturevalue("cpu_backend")
    expected = objective(drawn(WHOLE))
    together = [torch.cat(parts) for parts in zip(*(f[name] for f in found), strict=True)]
    torch.testing.assert_close(together, expected, rtol=1e-10, atol=1e-10)


def test_unequal_batches_are_refused_on_every_rank(found):
    expected = (
        "M must have the same shape on every rank, got (2, 3, 2) on rank 0, (3, 3, 2) on rank 1"
    )
    assert [f["unequal"] for f in found] == [expected] * RANKS


def test_module(found):
    torch.manual_seed(0)
    module = MinibatchDiscrimination(4, 3, 2)
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(torch.cat([f["module"] for f in found]), module(x).detach())
