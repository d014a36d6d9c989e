"""How a run is watched: speed, alarms, traces, and the metrics it logs.

Nothing here is worth a run: what cannot be written is a warning, never an end
or a wait. `log_thread` has the rule, `log_files` the files.
"""
