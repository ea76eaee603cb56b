"""Pure functions on tensors: no estimators, no state."""
