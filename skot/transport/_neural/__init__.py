"""What estimators that train networks share: the fit, two samples, networks in coordinates."""
