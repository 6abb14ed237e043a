"""Latents to contexts, against loops over the paper's definition."""

import pytest
import torch

from hf_unlearn.optimizers.latent_context import LatentContext

DIM = 6


def make(start=None, **sizes) -> LatentContext:
    sizes = {"n_ctx": 3, "shared": 4, "unique": 2, "seed": 0, **sizes}
    return LatentContext.create(torch.arange(DIM) / 10 if start is None else start, 0.5, **sizes)


def latents(context: LatentContext, population: int = 5) -> torch.Tensor:
    return torch.randn(population, context.size, generator=torch.Generator().manual_seed(1))


def test_with_sharing_it_is_the_papers_definition_token_by_token():
    context = make()
    batch = latents(context)
    decoded = context.decode(batch)
    for row, latent in enumerate(batch):
        shared, unique = latent[:4], latent[4:].view(3, 2)
        for token in range(3):
            whole = torch.cat([shared, unique[token]])
            expected = context.start[token] + sum(whole[i] * context.projection[i] for i in range(6))
            torch.testing.assert_close(decoded[row, token], expected)


def test_without_a_shared_part_every_token_has_its_own_latent():
    context = make(shared=0, unique=5)
    assert context.size == 15
    batch = latents(context)
    decoded = context.decode(batch)
    for row, latent in enumerate(batch):
        for token in range(3):
            expected = context.start[token] + latent[5 * token : 5 * token + 5] @ context.projection
            torch.testing.assert_close(decoded[row, token], expected)


def test_a_single_block_projects_one_latent_to_all_tokens():
    context = make(shared=0, unique=7, single_block=True)
    assert context.size == 7
    assert context.projection.shape == (7, 3 * DIM)
    batch = latents(context)
    decoded = context.decode(batch)
    for row, latent in enumerate(batch):
        flat = sum(latent[i] * context.projection[i] for i in range(7))
        for token in range(3):
            expected = context.start[token] + flat[token * DIM : (token + 1) * DIM]
            torch.testing.assert_close(decoded[row, token], expected)


SHAPES = [{"shared": 4, "unique": 2}, {"shared": 0, "unique": 5}, {"shared": 4, "unique": 0},
          {"shared": 0, "unique": 7, "single_block": True}, {"shared": 1, "unique": 1}]  # fmt: skip


@pytest.mark.parametrize("n_ctx", [1, 2, 16])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_blocks_cover_the_latent_without_overlap(shape, n_ctx):
    context = make(**shape, n_ctx=n_ctx)
    covered = [i for block in context.blocks for i in range(context.size)[block]]
    assert covered == list(range(context.size))
    assert all(block.stop > block.start for block in context.blocks)
    assert context.decode(latents(context)).shape == (5, n_ctx, DIM)


def test_there_is_a_block_for_the_shared_part_and_one_per_token():
    assert make().blocks == [slice(0, 4), slice(4, 6), slice(6, 8), slice(8, 10)]
    assert make(shared=0, unique=5).blocks == [slice(0, 5), slice(5, 10), slice(10, 15)]
    assert make(unique=0).blocks == [slice(0, 4)]
    assert make(shared=0, unique=7, single_block=True).blocks == [slice(0, 7)]


def test_a_block_of_one_token_moves_that_token_alone_and_the_shared_block_all_alike():
    context = make()
    plain = context.decode(torch.zeros(1, context.size))[0]
    for number, block in enumerate(context.blocks):
        latent = torch.zeros(1, context.size)
        latent[0, block] = 1.0
        moved = context.decode(latent)[0] - plain
        if number == 0:
            torch.testing.assert_close(moved, moved[:1].expand(3, -1))
            assert moved.abs().min() > 0
        else:
            assert [bool(token.any()) for token in moved] == [i == number - 1 for i in range(3)]


def test_without_unique_parts_all_tokens_move_alike():
    context = make(unique=0)
    offsets = context.decode(latents(context)) - context.start
    torch.testing.assert_close(offsets, offsets[:, :1].expand(-1, 3, -1))
    assert offsets.abs().min() > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_latent_zero_is_the_start(shape):
    for start in (torch.randn(DIM), torch.randn(3, DIM)):
        context = make(start, **shape)
        assert torch.equal(context.decode(torch.zeros(1, context.size))[0], start.expand(3, DIM))


def test_a_finished_context_can_be_the_start_of_the_next():
    first = make()
    finished = first.decode(latents(first, 1))[0]
    second = make(finished, seed=1)
    batch = latents(second)
    offsets = second.decode(batch) - finished
    torch.testing.assert_close(offsets, make(torch.zeros(DIM), seed=1).decode(batch), rtol=1e-4, atol=1e-6)


def test_contexts_are_float32_whatever_goes_in():
    context = make(torch.zeros(DIM, dtype=torch.bfloat16))
    assert context.decode(latents(context).double()).dtype == torch.float32
    assert context.start.dtype == torch.float32


def test_the_projection_is_drawn_from_the_seed_with_the_given_scale():
    one, same, other = (LatentContext.create(torch.zeros(512), 0.02, n_ctx=4, shared=400, unique=100, seed=s)
                        for s in (0, 0, 1))  # fmt: skip
    assert torch.equal(one.projection, same.projection)
    assert not torch.equal(one.projection, other.projection)
    assert float(one.projection.std()) == pytest.approx(0.02, rel=0.01)
    assert abs(float(one.projection.mean())) < 2e-4


def test_with_spread_the_start_is_far_out_and_drawn_from_the_seed():
    sizes = {"n_ctx": 8, "shared": 4, "unique": 0, "spread": 9.0}
    one, same, other = (LatentContext.create(torch.zeros(512), 0.02, **sizes, seed=s) for s in (0, 0, 1))
    assert torch.equal(one.start, same.start)
    assert not torch.equal(one.start, other.start)
    assert float(one.start.std()) == pytest.approx(9 * 0.02, rel=0.05)


def test_orthogonal_directions_count_alike_and_a_unit_moves_the_context_by_a_tokens_length():
    context = make(shared=0, unique=4, single_block=True, orthogonal=True, spread=3.0)
    moves = (context.decode(torch.eye(4)) - context.start).flatten(1)
    length = context.start.norm(dim=1).square().mean()
    torch.testing.assert_close(moves @ moves.T, length * torch.eye(4), rtol=1e-4, atol=1e-5)


def test_there_are_no_more_orthogonal_directions_than_the_context_has_numbers():
    sizes = {"shared": 0, "single_block": True, "orthogonal": True, "spread": 1.0}
    assert make(**sizes, unique=3 * DIM + 5).size == 3 * DIM


def test_the_projection_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    make()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_ctx": 0}, "expected n_ctx >= 1 and a latent, got n_ctx=0"),
        ({"shared": -1}, "got n_ctx=3, shared=-1"),
        ({"unique": -1}, "unique=-1"),
        ({"shared": 0, "unique": 0}, "expected n_ctx >= 1 and a latent"),
        ({"single_block": True}, "a single block shares nothing; got shared=4"),
        ({"orthogonal": True}, "orthogonal rows are for a single block, got single_block=False"),
        ({"start": torch.zeros(2, DIM)}, "start has 2 tokens, n_ctx is 3"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        make(**sizes)


@pytest.mark.parametrize("shape", [(10,), (2, 9), (2, 11), (1, 2, 10)])
def test_latents_of_another_width_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected latents of shape \(P, 10\), got"):
        make().decode(torch.zeros(shape))
