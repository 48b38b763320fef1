"""Decoders of a few hundred weights in float64, and latent reasoning done the slow, plain way."""

import torch
from torch.nn.functional import cross_entropy

from apportion.policies.latent.batch import pad_batch
from apportion.policies.latent.model import LatentModel
from apportion.policies.latent.options import parse_cell

VOCABULARY = 20
# Different lengths of question and answer, and of the thought in between, none at all included.
QUESTIONS = [[1, 2, 3, 4, 5], [6, 7], [8, 9, 10]]
ANSWERS = [[1, 2], [3, 4, 5, 6], [7]]
STEPS = [3, 1, 0]
CELLS = ["identity", "mlp", "lstm", "hrpo", "soft", {"kind": "soft", "top_k": 3}]


def llama(**changes):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
    }
    model = LlamaForCausalLM(LlamaConfig(**(settings | changes)))
    # Llama's own norm rounds to float32, which would hide errors below 1e-7.
    for layer in model.model.layers:
        layer.input_layernorm = torch.nn.RMSNorm(8, eps=1e-6)
        layer.post_attention_layernorm = torch.nn.RMSNorm(8, eps=1e-6)
    model.model.norm = torch.nn.RMSNorm(8, eps=1e-6)
    return model.double().eval()


def gpt2(**changes):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    settings = {
        "vocab_size": VOCABULARY,
        "n_embd": 8,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 64,
        "initializer_range": 0.3,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return GPT2LMHeadModel(GPT2Config(**(settings | changes))).double().eval()


def latent(cell="identity", network=None, *, steps=2, **options):
    network = llama() if network is None else network
    torch.manual_seed(1)
    model = LatentModel(network, parse_cell(cell), steps=steps, **options)
    with torch.no_grad():
        for parameter in model.cell.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def batch(steps=STEPS, questions=QUESTIONS, answers=ANSWERS):
    return pad_batch(questions, answers, steps, pad_id=0)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def slow_logits(model, question, answer, steps):
    """Logits of each answer token: no cache, no padding, the whole sequence run for each step."""
    decoder = model.decoder

    def hidden(embeds_TE):
        return decoder.network.base_model(inputs_embeds=embeds_TE[None]).last_hidden_state[0]

    embeds_TE = decoder.embed(torch.tensor(question))
    carried = model.cell.start(embeds_TE[-1:])
    for _ in range(steps):
        latent_1E, carried = model.cell(hidden(embeds_TE)[-1:], carried)
        if model.norm == "embedding":
            latent_1E = latent_1E * (model.norm_target / latent_1E.norm(dim=-1, keepdim=True))
        embeds_TE = torch.cat([embeds_TE, latent_1E])
    start = len(embeds_TE) - 1
    embeds_TE = torch.cat([embeds_TE, decoder.embed(torch.tensor(answer))])
    return decoder.logits(hidden(embeds_TE))[start:-1]


def slow_loss(model, questions=QUESTIONS, answers=ANSWERS, steps=STEPS):
    rows = [slow_logits(model, q, a, k) for q, a, k in zip(questions, answers, steps, strict=True)]
    return cross_entropy(torch.cat(rows), torch.tensor([t for a in answers for t in a]))
