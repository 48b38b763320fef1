"""Training on chains of the policy's own that reach the right answer."""
