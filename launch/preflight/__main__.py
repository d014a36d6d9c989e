"""The command: `python -m soundstream_jax.launch.preflight`."""

from absl import app

from soundstream_jax import config
from soundstream_jax.launch.preflight import step_report

if __name__ == "__main__":
  app.run(step_report.main, flags_parser=config.parse_flags)
