"""Entropic transport: Sinkhorn's iteration and its derivatives, from one problem to many."""
