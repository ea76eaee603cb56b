"""W2GNTransport: Wasserstein-2 maps as gradients of learned potentials."""
