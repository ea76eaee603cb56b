"""MetaW2GN: predicts Wasserstein-2 maps between measures."""
