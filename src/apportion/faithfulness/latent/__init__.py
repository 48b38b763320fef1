"""Whether latent steps are the reason for the answer, and what can be read out of them."""
