"""A network is given its cache by the name that its version has for it."""

import pytest
import torch
from transformers import DynamicCache

from apportion.policies.keys_values import keeping, kept
from tests.policies.latent.small import gpt2, llama


class Newer:
    def forward(self, input_ids, cache=None, use_cache=None): ...


class Earlier:
    def forward(self, input_ids, past_key_values=None, use_cache=None): ...


def test_each_version_has_its_name():
    assert keeping(Newer(), "c") == {"cache": "c", "use_cache": True}
    assert keeping(Earlier(), "c") == {"past_key_values": "c", "use_cache": True}
    assert kept({"cache": "c"}) == kept({"cache": None, "past_key_values": "c"}) == "c"
    assert kept({"input_ids": 1}) is None


@pytest.mark.parametrize("make", [llama, gpt2])
def test_the_installed_version_fills_the_cache_without_a_warning(make, recwarn):
    network, cache = make(), DynamicCache()
    network.base_model(input_ids=torch.tensor([[1, 2, 3]]), **keeping(network.base_model, cache))
    assert cache.get_seq_length() == 3
    assert not [w for w in recwarn if "deprecated" in str(w.message)]


def test_a_wrapper_that_passes_on_all_it_gets_is_given_what_networks_take():
    class Wrapper:
        def forward(self, *args, **kwargs): ...

    assert keeping(Wrapper(), "c") == keeping(llama(), "c")
