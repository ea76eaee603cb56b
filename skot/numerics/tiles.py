"""Row tiles: how an n x m computation is done without an n x m array."""

from collections.abc import Iterator

#: Entries of one tile. Two MiB in float64: a tile that stays in cache while it is
#: exponentiated and reduced is several times faster than one that does not.
TILE_ENTRIES = 2**18
#: What a network is taken to need per row when rows are cut into tiles.
NETWORK_WIDTH = 64


def row_tiles(n_rows: int, n_columns: int, tile_entries: int = TILE_ENTRIES) -> Iterator[slice]:
    """Cut rows into consecutive slices, of one row or more and about `tile_entries` entries."""
    step = max(1, tile_entries // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
