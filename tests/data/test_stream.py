"""Order and resumption of the stream of batches."""

import itertools

import pytest
import torch
from torch.utils.data import Dataset

from adaconv.data import ImageData, LabelledData, PointData, loader

NUMBERS = PointData("numbers", "train", "none", torch.arange(10.0).view(10, 1))


def take(stream, count):
    return [batch.flatten().tolist() for batch in itertools.islice(stream, count)]


def test_each_epoch_is_a_new_permutation_without_the_incomplete_batch():
    batches = take(loader(NUMBERS, 3, seed=0), 3 * 40)
    epochs = [list(itertools.chain(*batches[i : i + 3])) for i in range(0, len(batches), 3)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 40
    assert set(itertools.chain(*epochs)) == set(range(10))  # the one left out changes


def test_the_order_depends_on_the_seed_alone():
    first = take(loader(NUMBERS, 4, seed=1), 6)
    torch.rand(3)
    assert take(loader(NUMBERS, 4, seed=1), 6) == first
    assert take(loader(NUMBERS, 4, seed=2), 6) != first


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    take(loader(NUMBERS, 4, seed=1), 3)
    assert torch.equal(torch.rand(2), expected)


def test_worker_processes_give_the_same_batches():
    assert take(loader(NUMBERS, 3, seed=5, workers=2), 8) == take(loader(NUMBERS, 3, seed=5), 8)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("given", [0, 1, 3, 5])
def test_a_restored_stream_goes_on_with_the_next_batch(given, workers):
    whole = take(loader(NUMBERS, 3, seed=7), given + 5)
    interrupted = loader(NUMBERS, 3, seed=7, workers=workers)
    take(interrupted, given)
    resumed = loader(NUMBERS, 3, seed=7)
    resumed.load_state_dict(interrupted.state_dict())
    assert take(resumed, 5) == whole[given:]


def test_a_running_stream_can_go_back():
    stream = loader(NUMBERS, 3, seed=7)
    state = stream.state_dict()
    first = take(stream, 4)
    stream.load_state_dict(state)
    assert take(stream, 4) == first


def test_the_state_counts_epochs_and_batches():
    stream = loader(NUMBERS, 3, seed=7)
    take(stream, 5)
    assert stream.state_dict() == {
        "epoch": 1, "offset": 2, "seed": 7, "batch_size": 3, "length": 10,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, "got seed=8, expected 7"),
        ({"batch_size": 4}, "got batch_size=4, expected 3"),
        ({"length": 11}, "got length=11, expected 10"),
        ({"more": 1}, "must have the keys"),
    ],
)
def test_the_state_of_another_stream_is_refused_and_changes_nothing(change, message):
    stream = loader(NUMBERS, 3, seed=7)
    take(stream, 1)
    before = stream.state_dict()
    with pytest.raises(ValueError, match=message):
        stream.load_state_dict({**before, "epoch": 9, **change})
    assert stream.state_dict() == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 11}, ValueError, "batch_size=11 and 10 items in numbers"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer, got 2.5"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"workers": -1}, ValueError, "workers must be at least 0, got -1"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        loader(NUMBERS, **{"batch_size": 2, "seed": 0, **arguments})


class Items(Dataset):
    """A dataset that only gives one item at a time."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.tensor([float(index)])


def test_a_dataset_without_batches_of_its_own_is_stacked():
    assert take(loader(Items(), 3, seed=3), 4) == take(loader(NUMBERS, 3, seed=3), 4)


class Counting(PointData):
    """Counts how often it is asked."""

    asked = 0

    def __getitems__(self, indices):
        Counting.asked += 1
        return super().__getitems__(indices)


def test_the_dataset_is_asked_once_a_batch():
    numbers = Counting("numbers", "train", "none", NUMBERS.values)
    assert take(loader(numbers, 5, seed=0), 6) == take(loader(NUMBERS, 5, seed=0), 6)
    assert Counting.asked == 6


@pytest.mark.parametrize("workers", [0, 1])
def test_labels_come_with_their_items(workers):
    numbers = PointData("numbers", "train", "none", NUMBERS.values, torch.arange(10) * 3)
    stream = loader(LabelledData(numbers), 4, seed=2, workers=workers)
    plain = loader(NUMBERS, 4, seed=2)
    for batch, values in itertools.islice(zip(stream, plain, strict=True), 3):
        assert torch.equal(batch.values, values)
        assert batch.labels.tolist() == [3 * int(value) for value in values]
        assert len(batch) == 4
        halves = batch.to(torch.float16)
        assert (halves.values.dtype, halves.labels.dtype) == (torch.float16, torch.int64)
    assert LabelledData(numbers)[3].labels == 9
    with pytest.raises(ValueError, match="numbers has no labels in its split 'train'"):
        LabelledData(NUMBERS)


def test_images_come_as_one_batch_of_floats():
    pixels = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 3, 2, 2)
    batch = next(loader(ImageData("gray", "train", "none", pixels), 8, seed=0))
    assert batch.shape == (8, 3, 2, 2)
    assert batch.dtype == torch.float32
    levels = ((batch[:, 0, 0, 0] + 1) * 127.5).round().sort().values
    assert levels.tolist() == list(range(8))
