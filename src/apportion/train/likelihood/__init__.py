"""Rewards and supervised terms from the likelihood of reference answers."""
