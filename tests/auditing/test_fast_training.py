"""The bare training loop of attackers."""

import pytest
import torch

from hf_unlearn import ClipBlackBox
from hf_unlearn.auditing.fast_training import CrossEntropy, train_context
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.errors import InputError

LABELS, FORGET = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([True, True, False])


def test_the_derivative_of_the_attackers_loss_is_autograds():
    """The search solves with it: a derivative of another loss would train against the attacker."""
    objective = CrossEntropy(LABELS, FORGET)
    logits = (3 * torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
    value, slope = objective.derivative(logits.detach(), objective.rivals(logits[0].detach().log_softmax(-1)))
    expected = torch.stack([objective(one.log_softmax(-1)) for one in logits])
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(slope, torch.autograd.grad(expected.sum(), logits)[0])


def test_the_attacker_learns_and_every_move_is_better_than_those_before():
    task, model = demo.task("emoji10"), ClipBlackBox()
    few = task.train.draw(4, 0).select(range(0, 40, 3))
    handle, labels = model.add_images(few), (torch.tensor(few.labels) + 1) % 10  # names to be learnt
    objective = CrossEntropy(labels, torch.ones(len(task.names), dtype=torch.bool))
    moves = train_context(
        model, lambda contexts: model.log_scores(contexts, handle, task.names), objective,
        torch.arange(len(labels)), n_ctx=4, queries=120,
    )  # fmt: skip
    losses = [float(objective(move.scores)) for move in moves]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 2


def test_scores_that_are_no_numbers_are_refused(clip):
    objective = CrossEntropy(LABELS, FORGET)
    moves = train_context(
        clip, lambda contexts: torch.full((len(contexts), 5, 3), torch.nan), objective, torch.arange(5), n_ctx=2,
        queries=30,
    )  # fmt: skip
    with pytest.raises(InputError, match="scores that are no numbers"):
        list(moves)
