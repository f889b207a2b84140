"""A JSON text in a FITS file: where a product comes from."""

import json

import numpy as np
from astropy.io import fits

from hifred.fitsio import FileError, FitsFile

PROVENANCE = "PROVENANCE"


def json_hdu(record: dict) -> fits.BinTableHDU:
    """Table PROVENANCE with one text, the record as JSON."""
    text = json.dumps(record, indent=1).encode()
    column = fits.Column("JSON", f"{max(len(text), 1)}A", array=np.array([text]))
    return fits.BinTableHDU.from_columns([column], name=PROVENANCE)


def read_json(file: FitsFile) -> dict:
    """Read the record of a file.

    Raises
    ------
    FileError
        If the table is missing, or its text is not JSON.
    """
    text = file.column(PROVENANCE, "JSON")
    try:
        return json.loads(text[0])
    except (ValueError, IndexError) as error:
        raise FileError(f"{file.path}[{PROVENANCE}]: expected a JSON text, found one that is not ({error})") from error
