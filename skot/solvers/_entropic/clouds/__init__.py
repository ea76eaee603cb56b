"""Many small clouds at once, each pair a problem with costs of its own."""
