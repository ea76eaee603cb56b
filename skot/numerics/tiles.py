"""Row tiles: how an n x m computation is done without an n x m array."""

from collections.abc import Iterator

#: Entries of one tile. Two MiB in float64: a tile that stays in cache while it is
#: exponentiated and reduced is several times faster than one that does not.
TILE_ENTRIES = 2**18
#: What a network is taken to need per row when rows are cut into tiles.
NETWORK_WIDTH = 64


def row_tiles(n_rows: int, n_columns: int, tile_entries: int = TILE_ENTRIES) -> Iterator[slice]:
    """Cut rows into slices whose tiles hold about ``tile_entries`` entries.

    Parameters
    ----------
    n_rows : int
        Rows to cover.
    n_columns : int
        Entries per row.
    tile_entries : int, default=2**18
        Entries of a tile; at least one row is taken.

    Yields
    ------
    rows : slice
        Consecutive slices that cover ``range(n_rows)``.

    Examples
    --------
    >>> from skot.numerics.tiles import row_tiles
    >>> list(row_tiles(5, 10, tile_entries=20))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, tile_entries // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
