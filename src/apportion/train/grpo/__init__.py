"""GRPO with a credit for each token, on TRL's trainer, and what it measures of a batch."""
