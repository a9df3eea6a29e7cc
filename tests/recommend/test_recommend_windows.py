"""Windows over histories: every item learnt once, nothing across users, states before targets."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nightshift.recommend.training.windows import SampleRows, Windows, batches
from shop_by_hand import histories

LENGTHS = st.lists(st.integers(0, 23), min_size=1, max_size=6).filter(any)


def numbered(lengths):
    """Histories in which every event is an item of its own: code = flat position."""
    ends = np.cumsum(lengths)
    return histories([list(range(end - n, end)) for end, n in zip(ends, lengths, strict=True)])


def learnt(batch):
    """(user, what the state has seen, the target) of every position that counts."""
    found = []
    for row, user in enumerate(batch.users):
        for position, target in enumerate(batch.targets[row]):
            if target >= 0:
                found.append((int(user), batch.inputs[row, :position].tolist(), int(target)))
    return found


@given(LENGTHS, st.integers(2, 7))
def test_cover_learns_every_item_once_from_what_lies_in_front_of_it(lengths, max_length):
    whole = numbered(lengths)
    windows = Windows.cover(whole, max_length)
    rows = learnt(windows.batch(np.arange(len(windows))))

    assert Counter(target for _, _, target in rows) == Counter(whole.items.tolist())
    for user, seen, target in rows:
        start = whole.indptr[user]
        assert whole.indptr[user] <= target < whole.indptr[user + 1]
        assert len(seen) <= max_length
        # Exactly the items in front, unbroken, of this user; none only at the history's start.
        assert seen == list(range(target - len(seen), target))
        assert seen or target == start


@given(LENGTHS, st.integers(2, 7))
def test_a_windows_inputs_are_bounded_and_counted(lengths, max_length):
    windows = Windows.cover(numbered(lengths), max_length)
    batch = windows.batch(np.arange(len(windows)))
    assert batch.inputs.shape[1] + 1 == batch.targets.shape[1] <= max_length + 1
    assert ((batch.inputs >= 0).sum(axis=1) == batch.lengths).all()
    for row, length in enumerate(batch.lengths):
        assert (batch.inputs[row, :length] >= 0).all()
        assert (batch.inputs[row, length:] == -1).all()
        assert (batch.targets[row, length + 1 :] == -1).all()


@given(LENGTHS, st.integers(2, 7), st.data())
def test_newest_learns_the_last_items_of_each_user_only(lengths, max_length, data):
    new = np.array([data.draw(st.integers(0, n)) for n in lengths], dtype=np.int64)
    whole = numbered(lengths)
    windows = Windows.newest(whole, new, max_length)
    assert windows.users.tolist() == np.flatnonzero(new).tolist()
    if not len(windows):
        return
    rows = learnt(windows.batch(np.arange(len(windows))))
    expected = {
        position
        for user, count in enumerate(new)
        for position in range(
            whole.indptr[user + 1] - min(count, max_length), whole.indptr[user + 1]
        )
    }
    assert sorted(target for _, _, target in rows) == sorted(expected)
    for user, seen, target in rows:
        assert seen == list(range(target - len(seen), target))
        # As much of the history as a window holds stands in front of the newest item.
        if target == whole.indptr[user + 1] - 1:
            assert len(seen) == min(max_length, target - whole.indptr[user])


def test_the_first_item_of_all_is_predicted_by_the_start_token():
    batch = Windows.cover(histories([[7]]), 4).batch(np.array([0]))
    assert batch.inputs.shape == (1, 0)
    assert batch.targets.tolist() == [[7]]
    assert batch.lengths.tolist() == [0]


def test_a_later_window_does_not_teach_its_first_item_to_the_start_token():
    windows = Windows.cover(numbered([7]), 3)
    batch = windows.batch(np.array([0]))  # the newest: items 3 | 4 5 6
    assert batch.inputs.tolist() == [[3, 4, 5]]
    assert batch.targets.tolist() == [[-1, 4, 5, 6]]


def test_an_epoch_draws_every_window_once_in_a_seeded_order():
    windows = Windows.cover(numbered([3, 11, 1, 0, 6, 2, 9, 4]), 4)
    size = 3
    per_epoch = -(-len(windows) // size)

    def epochs(seed):
        drawn = batches(windows, size, np.random.default_rng(seed))
        return [next(drawn).targets.tolist() for _ in range(2 * per_epoch)]

    def items(of):
        return sorted(i for targets in of for row in targets for i in row if i >= 0)

    one = epochs(0)
    assert items(one[:per_epoch]) == items(one[per_epoch:]) == list(range(36))
    assert one == epochs(0)
    assert one != epochs(1)
    assert one[:per_epoch] != one[per_epoch:]


def test_chance_alone_says_which_windows_share_a_batch():
    """Batches of like length weigh what short histories want more than what long ones do."""
    windows = Windows.cover(numbered([2] * 200 + [9] * 200), 10)
    drawn = batches(windows, 40, np.random.default_rng(0))
    for batch in (next(drawn) for _ in range(10)):
        assert 8 <= (batch.lengths == 1).sum() <= 32
        assert (np.diff(batch.lengths) >= 0).all()  # the short ones first


def test_a_samples_target_is_predicted_from_the_whole_context():
    rows = SampleRows(
        np.array([[1, 2, 3], [4, -1, -1], [-1, -1, -1]], dtype=np.int32),
        np.array([3, 1, 0]),
        np.array([7, 8, 9], dtype=np.int32),
        np.array([0.1, 0.2, 0.3], dtype=np.float32),
    )
    whole = rows.batch(np.array([0, 1, 2]))
    assert whole.inputs.tolist() == [[1, 2, 3], [4, -1, -1], [-1, -1, -1]]
    assert whole.targets.tolist() == [[-1, -1, -1, 7], [-1, 8, -1, -1], [9, -1, -1, -1]]
    short = rows.batch(np.array([2, 1]))
    assert short.inputs.tolist() == [[-1], [4]]
    assert short.targets.tolist() == [[9, -1], [-1, 8]]
