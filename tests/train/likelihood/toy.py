"""A language model so small that all of its completions can be written down."""

from itertools import product

from apportion.policies.language_model import LanguageModelPolicy
from apportion.trace import Problem

WORDS = ["<pad>", "<end>", "a\n", "####", " 1"]
PAD, END, MARKER = 0, 1, 3
PROBLEM = Problem(id="toy", prompt="a\n", answers=("1",))


def toy_tokenizer():
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"a\n|####| 1"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>", padding_side="left"
    )


def toy_policy(seed=0):
    """Two layers wide enough for every completion to have a probability of its own."""
    import torch

    from apportion.policies.tiny import build_model

    tokenizer = toy_tokenizer()
    model = build_model(tokenizer, hidden_size=16, layers=1, heads=2, context=32, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)  # far from uniform
    return LanguageModelPolicy(model.double(), tokenizer, "toy")


def completions(longest):
    """Every completion of up to ``longest`` tokens: ended, or cut off there."""
    return [
        list(ids)
        for length in range(1, longest + 1)
        for ids in product(range(len(WORDS)), repeat=length)
        if END not in ids[:-1] and (ids[-1] == END or length == longest)
    ]
