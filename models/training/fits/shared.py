"""Takes out of a recogniser's embeddings what those of strangers share.

Children are alike to a recogniser, and so are pictures of one kind: a direction of the embedding says so, and says
nothing of who somebody is. Without the largest of these, strangers of every kind are as unlike as grown-ups are. After
Mu and Viswanath 2018, "All-but-the-Top", arXiv:1702.01417, for embeddings of words.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from models.identity.recognizer import CompactRecognizer

SHARED_DIRECTIONS = 3  # of 128: more of them take of one person's likeness to themselves as well


def shared_directions(embeddings: Tensor, count: int = SHARED_DIRECTIONS) -> Tensor:
    """Return orthonormal directions `(D, count)` that embeddings of different people have most of.

    Args:
        embeddings: `(N, D)`, unit, of all kinds of people; not centred, as what they have in common counts.
        count: How many; at most D.
    """
    _, directions = torch.linalg.eigh((embeddings.T @ embeddings).double())  # the largest come last
    largest: Tensor = directions[:, -count:].to(embeddings)
    return largest


@torch.no_grad()
def without(directions: Tensor, recognizer: CompactRecognizer) -> CompactRecognizer:
    """Return a copy whose embeddings have nothing of `directions`, `(D, K)`: its last layer is projected."""
    made = copy.deepcopy(recognizer)
    last = made.layers[-1]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    kept = torch.eye(len(directions)).to(directions) - directions @ directions.T
    last.weight.copy_((kept @ last.weight.flatten(1)).view_as(last.weight))
    last.bias.copy_(kept @ last.bias)
    return made
