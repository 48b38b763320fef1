"""Thinking in vectors, learned from answers by backpropagation through time or by a flow."""
