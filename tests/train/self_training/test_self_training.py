"""A policy that reviews itself while it is being trained."""

import threading
import time

import pytest

pytest.importorskip("trl")

from apportion.review import load_reviewer
from apportion.train import CreditGRPOTrainer
from tests.train.tiny_setup import largest_difference, make_trainer, weights

pytestmark = pytest.mark.filterwarnings("ignore")


def watch(trainer):
    """Which threads run the model, and whether two ever do so at once."""
    seen = {"threads": set(), "together": False, "running": 0}
    lock, forward = threading.Lock(), trainer.model.forward

    def watched(*args, **kwargs):
        with lock:
            seen["running"] += 1
            seen["together"] |= seen["running"] > 1
            seen["threads"].add(threading.current_thread().name)
        try:
            return forward(*args, **kwargs)
        finally:
            with lock:
                seen["running"] -= 1

    trainer.model.forward = watched
    return seen


def test_reviews_and_training_never_use_the_model_at_once(tmp_path):
    reviewer = load_reviewer({"kind": "self", "samples": 2, "max_tokens": 8})
    batches = []
    trainer = make_trainer(
        CreditGRPOTrainer, tmp_path, steps=2, reviewers=[reviewer], on_credit=batches.append
    )
    seen = watch(trainer)
    trainer.train()
    trainer.close()
    assert len(seen["threads"]) > 1 and not seen["together"]
    reviews = [r for batch in batches for of_one in batch.reviews for r in of_one]
    assert len(reviews) == 32 and all(review.ok for review in reviews)
    assert trainer.model.training  # as training left it


def test_reviews_that_take_too_long_leave_the_model_alone(tmp_path):
    """The batch trains on the outcome, as with any reviewer that is down."""
    reviewer = load_reviewer({"kind": "self", "samples": 64})
    stock = make_trainer(CreditGRPOTrainer, tmp_path / "a", steps=1, credit="outcome")
    stock.train()
    trainer = make_trainer(
        CreditGRPOTrainer, tmp_path / "b", steps=1, reviewers=[reviewer], review_timeout=0.05
    )
    seen = watch(trainer)
    started = time.monotonic()
    trainer.train()
    trainer.close()
    assert not seen["together"] and time.monotonic() - started < 60
    assert trainer.state.log_history[0]["review/failed"] > 0.9  # but one without steps
    assert largest_difference(weights(stock), weights(trainer)) == 0.0
