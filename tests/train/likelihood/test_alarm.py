from apportion.config.reward import RewardConfig
from apportion.train.likelihood.alarm import ChainAlarm


def metrics(tokens, empty=0.0):
    return {"likelihood/chain_tokens": tokens, "likelihood/empty_chains": empty}


def ring(lengths, empty=0.0, **options):
    alarm = ChainAlarm(RewardConfig(kind="likelihood", **options))
    return [alarm.check(update, metrics(tokens, empty)) for update, tokens in enumerate(lengths)]


def test_rings_once_when_chains_have_shrunk_to_less_than_a_quarter():
    found = ring([40.0] * 5 + [9.0] * 6)
    assert found[9].startswith("chains collapse at update 9: 9.0 tokens of reasoning after 40.0")
    assert [text for text in found if text] == [found[9]]


def test_keeps_still_where_chains_only_get_shorter_or_it_is_off():
    assert not any(ring([40.0] * 5 + [11.0] * 6))
    assert not any(ring([40.0] * 5 + [1.0] * 6, collapse="off"))


def test_rings_when_most_chains_are_empty():
    assert "60% of the chains empty" in ring([40.0] * 10, empty=0.6)[9]


def test_is_silent_without_a_likelihood_reward():
    assert ChainAlarm(RewardConfig()).check(1, {"train/loss": 0.0}) is None
