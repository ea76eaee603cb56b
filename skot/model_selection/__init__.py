"""Cross-validation of two samples."""

from skot.model_selection._domain_kfold import DomainKFold

__all__ = ["DomainKFold"]
