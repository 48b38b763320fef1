"""What latent reasoning asks of a causal language model of the transformers library.

_B  rows        _T  positions of this call      _L  positions so far, these included
_E  size of an embedding                        _D  size of a hidden state
_V  vocabulary
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from apportion.errors import UserError
from apportion.policies.keys_values import keeping
from apportion.policies.latent.lean import lean
from apportion.policies.modes import eval_mode


class Decoder(nn.Module):
    """Embeds, runs and reads out ``network``, a ``...ForCausalLM``.

    Raises UserError, with the reason, for a model that is no decoder, keeps no plain key-value
    cache, or changes its logits after the head. All of it is found by running three tokens.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self._name = type(network).__name__
        if getattr(network.config, "is_encoder_decoder", False):
            raise self._refused("an encoder reads its question")
        if network.get_output_embeddings() is None:
            raise self._refused("it has no language-model head")
        if any(getattr(module, "gradient_checkpointing", False) for module in network.modules()):
            raise UserError(
                "turn the model's own gradient checkpointing off, it drops the key-value cache: "
                "latent.recompute does the same for latent steps"
            )
        with torch.no_grad(), eval_mode(network):
            self.hidden_size = self._probe()

    @property
    def device(self) -> torch.device:
        return self.network.device

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    @property
    def embedding_size(self) -> int:
        return self.network.get_input_embeddings().weight.shape[1]

    def embed(self, ids: Tensor) -> Tensor:
        """(..., E) embeddings of token ids."""
        return self.network.get_input_embeddings()(ids)

    def embeddings(self) -> Tensor:
        """(V, E): what ``embed`` gives for every token."""
        table = self.network.get_input_embeddings()
        # Gemma's embedding module scales what it looks up.
        return table.weight * getattr(table, "embed_scale", 1.0)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., V) of hidden states after the final norm."""
        return self.network.get_output_embeddings()(hidden)

    def run(
        self,
        embeds_BTE: Tensor,
        mask_BL: Tensor,
        positions_BT: Tensor,
        cache: DynamicCache,
        layers: list[Tensor] | None = None,
        *,
        last_only: bool = False,
    ) -> Tensor:
        """Hidden states (B, T, D) after the final norm; the cache grows by these positions. With
        ``last_only`` only those of the last position are right, which takes less.

        ``mask_BL`` is 1 where a position may be looked at. Differentiable in everything, the
        cache's earlier keys and values included: it grows by concatenation, nothing is written
        over. To ``layers`` the hidden states of every layer are appended, the embeddings first.
        """
        with lean(self.network, last_only=last_only):
            found = self.network.base_model(
                inputs_embeds=embeds_BTE,
                attention_mask=mask_BL,
                position_ids=positions_BT,
                **keeping(self.network.base_model, cache),
                output_hidden_states=layers is not None,
            )
        if layers is not None:
            layers.extend(found.hidden_states)
        return found.last_hidden_state

    # -- checks ----------------------------------------------------------------------------------

    def _refused(self, reason: str) -> UserError:
        return UserError(
            f"latent reasoning cannot use {self._name}: {reason}; it needs a decoder with a "
            "key-value cache, such as GPT-2, Llama, Qwen or SmolLM2"
        )

    def _probe(self) -> int:
        """Run three tokens both ways; returns the size of the hidden states."""
        vocabulary = self.network.get_input_embeddings().weight.shape[0]
        ids_BT = torch.arange(3, device=self.device)[None] % vocabulary
        other_BT = ids_BT.clone()
        other_BT[0, 2] = (3 + vocabulary // 2) % vocabulary
        cache = DynamicCache()
        try:
            hidden_BTD = self._run_whole(ids_BT, cache)
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            reason = str(error).strip().split("\n")[0]
            raise self._refused(f"it does not run with a key-value cache ({reason})") from None
        if cache.get_seq_length() != 3:
            raise self._refused("it keeps no plain key-value cache")
        changed_BTD = self._run_whole(other_BT, DynamicCache())
        if not torch.allclose(hidden_BTD[:, :2], changed_BTD[:, :2], atol=1e-3, rtol=1e-3):
            raise self._refused("its positions look at later ones, so it is no decoder")
        whole_BTV = self.network(input_ids=ids_BT).logits
        if not torch.allclose(self.logits(hidden_BTD), whole_BTV, atol=1e-3, rtol=1e-3):
            raise self._refused("it changes its logits after the head (scaling or soft capping)")
        return hidden_BTD.shape[-1]

    def _run_whole(self, ids_BT: Tensor, cache: DynamicCache) -> Tensor:
        positions_BT = torch.arange(ids_BT.shape[1], device=self.device)[None]
        return self.run(self.embed(ids_BT), torch.ones_like(ids_BT), positions_BT, cache)


class Decoded(nn.Module):
    """A model around a decoder, which passes for the network where that is asked for."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    @property
    def network(self) -> Any:
        return self.decoder.network

    @property
    def config(self) -> Any:
        return self.network.config

    @property
    def generation_config(self) -> Any:
        return self.network.generation_config

    @property
    def device(self) -> torch.device:
        return self.decoder.device
