"""Serves a folder to this machine's browsers, and to no other machine.

    python examples/browser/serve.py out/browser/page --port=8000

The headers let the page ask its own origin alone, and isolate it from others.
"""

import argparse
import functools
import http.server
import pathlib
import sys
from typing import ClassVar

from soundstream_jax import errors

HOST = "127.0.0.1"
POLICY = (
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "
  "worker-src 'self'; connect-src 'self'; style-src 'self'; "
  "img-src 'self' data:; base-uri 'none'; form-action 'none'; "
  "frame-ancestors 'none'"
)
HEADERS = {
  "Content-Security-Policy": POLICY,
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "X-Content-Type-Options": "nosniff",
  "Cache-Control": "no-cache",
}


class Handler(http.server.SimpleHTTPRequestHandler):
  """Files with the types that modules and wasm need, whatever the system."""

  extensions_map: ClassVar = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    "": "application/octet-stream",
  }

  def end_headers(self) -> None:
    for name, value in HEADERS.items():
      self.send_header(name, value)
    super().end_headers()

  def log_message(self, *message) -> None:
    """Says nothing: what is asked for is the page's business."""


def start(folder: pathlib.Path, port: int) -> http.server.ThreadingHTTPServer:
  """Returns a server that listens; 0 is any free port.

  Raises:
    InputError: no page in the folder, or the port is taken.
  """
  if not (folder / "index.html").is_file():
    raise errors.InputError(f"{folder} holds no index.html. Run make browser.")
  handler = functools.partial(Handler, directory=str(folder))
  try:
    return http.server.ThreadingHTTPServer((HOST, port), handler)
  except OSError as error:
    raise errors.InputError(
      f"port {port} cannot be used ({error.strerror}). Give another: --port=0 "
      "takes any (make browser PORT=0)."
    ) from None


def main(argv: list[str] | None = None) -> None:
  """Serves until Ctrl-C."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("folder", type=pathlib.Path)
  parser.add_argument("--port", type=int, default=8000)
  arguments = parser.parse_args(argv)
  with start(arguments.folder, arguments.port) as server:
    port = server.server_address[1]
    print(f"http://{HOST}:{port}/ (Ctrl-C ends it)", flush=True)
    server.serve_forever()


if __name__ == "__main__":
  sys.exit(errors.run(main))
