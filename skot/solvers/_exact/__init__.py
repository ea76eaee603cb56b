"""Exact plans between two weighted samples: every solver returns an `ExactPlan`."""
