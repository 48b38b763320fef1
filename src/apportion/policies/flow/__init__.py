"""Policies that let a learned velocity field carry a vector from the question to the answer."""
