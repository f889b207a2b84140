"""Calibration of real instruments: areas, redistributions, PSFs, and presets that say which files look like what."""
