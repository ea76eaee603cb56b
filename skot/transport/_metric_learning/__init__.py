"""LagrangianMetricLearner: a metric, learned from populations in time."""
