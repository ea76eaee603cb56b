"""SinkhornTransport: maps from entropic plans."""
