"""Devices and processes: meshes, shardings, memory, compiler flags."""
