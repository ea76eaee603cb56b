"""MetaOTRegressor: predicts potentials of entropic transport between histograms."""
