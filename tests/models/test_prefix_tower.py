"""The shared-prefix forward against transformers' own forward of the whole prompt."""

from copy import deepcopy

import pytest
import torch

from hf_unlearn.models.prefix_tower import Limits, PrefixTower
from tests.support.checkpoints import byte_vocabulary

NAMES = ["a", "beer mug", "a name that goes on for rather longer", "7"]
PLACEHOLDER = 5  # any id that is not special; the context takes its place


@pytest.fixture(scope="module")
def prompts(clip):
    def of(template: str, names=NAMES) -> list[list[int]]:
        return [clip.tokenizer(template.format(name))["input_ids"] for name in names]

    return of


def whole_forward(text_model, contexts: torch.Tensor, prompts: list[list[int]]) -> torch.Tensor:
    """Every prompt of every candidate alone, unpadded, its context put behind BOS: the definition."""
    rows = []
    for context in contexts:
        for prompt in prompts:
            ids = torch.tensor([[*prompt[:1], *[PLACEHOLDER] * len(context), *prompt[1:]]])

            def put(module, args, output, context=context):
                return torch.cat([output[:, :1], context[None], output[:, 1 + len(context) :]], 1)

            hook = text_model.get_input_embeddings().register_forward_hook(put)
            with torch.no_grad():
                rows.append(text_model(input_ids=ids).pooler_output[0])
            hook.remove()
    return torch.stack(rows).view(len(contexts), len(prompts), -1)


def relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize("template", ["{}", "This is a photo of {}.", "{} is what it shows, and nothing else"])
@pytest.mark.parametrize("n_ctx", [0, 1, 4, 16])
def test_it_pools_what_the_whole_forward_pools(clip, prompts, n_ctx, template):
    contexts = torch.randn(2, n_ctx, clip.dim, generator=torch.Generator().manual_seed(n_ctx))
    rows = prompts(template)
    got = PrefixTower(clip.model.text_model, rows).pooled(contexts)
    assert relative(got, whole_forward(clip.model.text_model, contexts, rows)) < 1e-5


def test_the_context_matters(clip, prompts):
    tower = PrefixTower(clip.model.text_model, prompts("{}"))
    contexts = torch.randn(2, 4, clip.dim, generator=torch.Generator().manual_seed(0))
    pooled = tower.pooled(contexts)
    assert relative(pooled[0], pooled[1]) > 1e-3
    assert relative(pooled, tower.pooled(contexts.flip(1))) > 1e-3  # tokens have an order


def test_words_that_all_prompts_start_with_are_read_once(clip, prompts):
    rows = prompts("This is a photo of {}.")
    tower = PrefixTower(clip.model.text_model, rows)
    opening = clip.tokenizer("This is a photo of")["input_ids"][:-1]
    assert rows[0][: tower.common] == opening
    assert PrefixTower(clip.model.text_model, prompts("{}")).common == 1  # nothing but BOS


@pytest.mark.parametrize("names", [["dog"], ["dog", "dog"], ["do", "dog", "dogs"], ["x" * 30, "x" * 31]])
def test_one_class_alike_classes_and_names_that_start_alike(clip, prompts, names):
    contexts = torch.randn(2, 3, clip.dim, generator=torch.Generator().manual_seed(1))
    rows = prompts("{}", names)
    got = PrefixTower(clip.model.text_model, rows).pooled(contexts)
    assert relative(got, whole_forward(clip.model.text_model, contexts, rows)) < 1e-5


def test_a_prompt_that_is_the_start_of_all_others_ends_where_it_ends(clip):
    """BOS and EOS alone, beside longer ones: the prefix must leave every prompt its own EOS."""
    vocabulary = byte_vocabulary()
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    rows = [[start, end], [start, 5, end], [start, 5, 6, end]]
    contexts = torch.randn(1, 2, clip.dim, generator=torch.Generator().manual_seed(1))
    text_model = clip.model.text_model
    got = PrefixTower(text_model, rows).pooled(contexts)
    assert relative(got, whole_forward(text_model, contexts, rows)) < 1e-5


def test_a_population_is_answered_like_its_members(clip, prompts):
    tower = PrefixTower(clip.model.text_model, prompts("a photo of {}."))
    contexts = torch.randn(7, 4, clip.dim, generator=torch.Generator().manual_seed(2))
    together = tower.pooled(contexts)
    assert together.shape == (7, len(NAMES), clip.dim)
    for row in range(7):
        assert relative(together[row], tower.pooled(contexts[row : row + 1])[0]) < 1e-5


def test_the_prompt_may_fill_the_tower_to_the_last_position(clip, prompts):
    rows = prompts("{}", ["x" * 61, "y"])
    contexts = torch.randn(1, 77 - len(rows[0]), clip.dim, generator=torch.Generator().manual_seed(3))
    got = PrefixTower(clip.model.text_model, rows).pooled(contexts)
    assert relative(got, whole_forward(clip.model.text_model, contexts, rows)) < 1e-5


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("nodes", [1, 7, 30])
def test_working_in_parts_changes_nothing(clip, prompts, nodes, repeated):
    names = [*NAMES, "beer", "beer mug and more", "b"]
    contexts = torch.randn(5, 4, clip.dim, generator=torch.Generator().manual_seed(4))
    tower = PrefixTower(clip.model.text_model, prompts("{}.", names), limits=Limits(nodes, 8 * nodes, repeated))
    assert len(tower.forest.ids) > 1
    whole = PrefixTower(clip.model.text_model, prompts("{}.", names))
    assert len(whole.forest.ids) == 1
    assert relative(tower.pooled(contexts), whole.pooled(contexts)) < 1e-5


def test_names_that_start_alike_share_their_first_tokens(clip, prompts):
    rows = prompts("{}", ["dog", "dog house", "dog house door", "dog"])
    tower = PrefixTower(clip.model.text_model, rows)
    tails = {tuple(row[tower.common :]) for row in rows}
    assert tower.forest.nodes == len({tail[:end] for tail in tails for end in range(1, len(tail) + 1)})
    assert tower.forest.nodes < sum(map(len, tails))
    assert tower.forest.ends.shape == (1, 3)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("template", ["{}", "a photo of a {}"])
def test_gradients_of_the_context_are_those_of_plain_products(clip, prompts, template, repeated):
    """Not for the black box, which hides them; for whoever studies the model itself. Fast products have none."""
    rows, found = prompts(template), []
    for dtype in (torch.float32, torch.float64):  # of which float64 has no fast ones
        model = deepcopy(clip.model.text_model).to(dtype)
        tower = PrefixTower(model, rows, limits=Limits(6, 48, repeated))
        contexts = torch.randn(1, 2, clip.dim, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
        weights = torch.randn(len(rows), clip.dim, generator=torch.Generator().manual_seed(1)).to(dtype)
        (tower.pooled(contexts)[0] * weights).sum().backward()
        found.append(contexts.grad.double())
    assert relative(found[0], found[1]) < 1e-4
