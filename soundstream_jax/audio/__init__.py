"""Waveforms: files, resampling, spectra."""
