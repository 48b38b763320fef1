"""Agents: thought that is differentiated, actions by reinforcement learning."""
