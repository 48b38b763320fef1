"""Training on chains that were written before: gold solutions and edited chains."""
