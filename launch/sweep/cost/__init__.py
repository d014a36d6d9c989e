"""Cost of points before they run: work by shapes, seconds by a device."""
