"""Leaning: who moves, how far, towards whom; and that it ranks new items where they belong."""

from __future__ import annotations

import numpy as np
import torch

from nightshift.recommend.ranking.neighbours import leaning

GROUPS, EACH, D = 3, 15, 4


def shop():
    """Three groups of equal texts, each placed somewhere else; item 0 of each is new."""
    rng = np.random.default_rng(0)
    features = np.eye(GROUPS, 8)[np.repeat(np.arange(GROUPS), EACH)]
    features = features + 0.01 * rng.normal(size=features.shape)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    centres = torch.from_numpy(rng.normal(size=(GROUPS, D)).astype(np.float32) * 5)
    places = centres.repeat_interleave(EACH, 0).clone()
    events = np.full(GROUPS * EACH, 100)
    new = np.arange(GROUPS) * EACH
    places[new], events[new] = 0.0, 0
    return places, torch.from_numpy(features.astype(np.float32)), events, new, centres


def test_a_new_item_goes_where_its_neighbours_in_text_are():
    places, features, events, new, centres = shop()
    found = leaning(places, features, events, 10.0)
    torch.testing.assert_close(found[new], centres)
    rest = np.setdiff1d(np.arange(len(events)), new)
    assert torch.equal(found[rest], places[rest])


def test_own_events_weigh_against_the_neighbours():
    places, features, events, new, centres = shop()
    events[new] = 5
    found = leaning(places, features, events, 10.0)
    torch.testing.assert_close(found[new], centres * 10 / 15)


def test_nobody_leans_without_strength_text_or_enough_neighbours():
    places, features, events, new, _ = shop()
    assert torch.equal(leaning(places, features, events, 0.0), places)
    assert torch.equal(leaning(places, torch.zeros_like(features), events, 10.0), places)
    few = np.where(np.arange(len(events)) < 9, events, 0)
    assert torch.equal(leaning(places, features, few, 10.0), places)
    silent = features.clone()
    silent[new[0]] = 0
    found = leaning(places, silent, events, 10.0)
    assert torch.equal(found[new[0]], places[new[0]])
    assert not torch.equal(found[new[1]], places[new[1]])


def test_an_item_that_others_lean_on_is_no_neighbour_of_itself():
    places, features, events, _, centres = shop()
    events[3] = 20  # few enough to lean, enough to be leant on
    places[3] = 7.0
    found = leaning(places, features, events, 20.0)
    torch.testing.assert_close(found[3], (centres[0] + 7.0) / 2)


def test_blocks_give_what_the_whole_gives(monkeypatch):
    from nightshift.recommend.ranking import neighbours

    places, features, events, _, _ = shop()
    events[::2] = 3
    whole = leaning(places, features, events, 5.0)
    monkeypatch.setattr(neighbours, "_BLOCK_CELLS", 1)
    monkeypatch.setattr(neighbours, "_KEPT", {})
    torch.testing.assert_close(leaning(places, features, events, 5.0), whole)


def test_neighbours_are_looked_for_once_and_again_when_a_text_or_an_event_is_another(monkeypatch):
    from nightshift.recommend.ranking import neighbours

    asked = []
    search = neighbours._search
    monkeypatch.setattr(neighbours, "_search", lambda *of: asked.append(1) or search(*of))
    monkeypatch.setattr(neighbours, "_KEPT", {})
    places, features, events, new, _ = shop()
    for strength in (3.0, 10.0):
        leaning(places + strength, features, events, strength)
    assert len(asked) == 1
    other = features.clone()
    other[new[0]] = features[new[1]]
    moved = leaning(places, other, events, 10.0)
    torch.testing.assert_close(moved[new[0]], moved[new[1]])
    touched = events.copy()
    touched[new[0]] = 50
    assert torch.equal(leaning(places, features, touched, 10.0)[new[0]], places[new[0]])
    assert len(asked) == 3
