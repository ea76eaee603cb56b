"""Derivatives of solutions, from one linear system for any number of inputs."""
