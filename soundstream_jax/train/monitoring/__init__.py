"""How a run is watched: speed, alarms, traces, and the metrics it logs."""
