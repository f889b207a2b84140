"""Where the channels of an instrument lie in energy, and what light their pixels gather."""

import numpy as np

from hifred.response.response import Response


def channel_edges(response: Response, edges: np.ndarray) -> np.ndarray:
    """Nominal energies of the channels.

    Where the redistribution is a kernel on the energy bins, the channels are sums of bins. Where it is a matrix, which
    carries no channel energies, a channel lies where it is most sensitive: at the mean over the energies above 0.8 of
    the row's maximum. Rows within that width of the ends of the band are extrapolated from the others.

    Parameters
    ----------
    response : Response
        The instrument.
    edges : array of shape (L + 1,)
        Edges of the energy bins.

    Returns
    -------
    array of shape (channels + 1,)
        In the unit of `edges`, increasing.
    """
    lsf, factor = response.kernels.lsf, response.kernels.rebin[0]
    if lsf is None or lsf.ndim == 1:
        return edges[::factor]
    rows = lsf.reshape(-1, factor, lsf.shape[1]).sum(1)
    middle = 0.5 * (edges[:-1] + edges[1:])
    top = rows.max(1)
    core = rows > 0.8 * top[:, None]
    first, last = core.argmax(1), core.shape[1] - 1 - core[:, ::-1].argmax(1)
    # Near the ends of the band the kernel is cut, or scaled up to make good for what is cut.
    free = (top > 0) & (first > last - first) & (last < core.shape[1] - 1 - (last - first))
    weights = np.where(core, rows, 0)[free]
    centres = np.maximum.accumulate((weights * middle).sum(1) / weights.sum(1))
    channels, known = np.arange(top.size), np.flatnonzero(free)
    if known.size < 2 or centres[-1] <= centres[0]:
        return np.linspace(edges[0], edges[-1], top.size + 1)
    step = float(np.median(np.diff(centres) / np.diff(known)))
    full = np.interp(channels, known, centres)
    full += step * (np.minimum(channels - known[0], 0) + np.maximum(channels - known[-1], 0))
    # A plateau would make empty channels: spread it over a hair's breadth.
    full = np.maximum.accumulate(full) + 1e-6 * step * channels
    inner = 0.5 * (full[:-1] + full[1:])
    return np.concatenate([[2 * full[0] - inner[0]], inner, [2 * full[-1] - inner[-1]]])


def sky_place(response: Response) -> np.ndarray:
    """The detector pixel that looks at each sky pixel.

    Returns
    -------
    array of int of shape (ny, nx)
        Index of the flattened detector image.
    """
    _, ny, nx = response.in_shape
    _, ry, rx = response.kernels.rebin
    y, x = np.mgrid[:ny, :nx]
    return (y // ry) * (nx // rx) + x // rx


def vignetting(response: Response) -> np.ndarray:
    """Area of each detector pixel over the mean area, averaged over energies; shape (y, x)."""
    _, ry, rx = response.kernels.rebin
    area = response.kernels.area
    shape = response.out_shape[1:]
    if area is None or area.ndim == 1:
        return np.ones(shape)
    mean = area.mean((1, 2), keepdims=True)
    relative = np.divide(area, mean, out=np.zeros_like(area), where=mean > 0)[mean.ravel() > 0].mean(0)
    return relative.reshape(shape[0], ry, shape[1], rx).mean((1, 3))
