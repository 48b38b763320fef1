"""Latent reasoning: question, k steps in vectors, answer; trained by backpropagation through time.

``options`` names the cells and needs no torch. ``decoder`` is what is asked of a transformers
model, ``cells`` make a step's input of the hidden state before it, ``model`` joins the two,
``policy`` answers problems with them.
"""

from apportion.policies.latent.options import CELLS, CellOptions, parse_cell

__all__ = ["CELLS", "CellOptions", "parse_cell"]
