"""While a process waits for the others of its job, it says what it waits for.

The name of process 0's host is looked up first: one that does not exist is bad
input. Inside Kubernetes it may take a while to appear, as the record of a
headless service follows its pods.
"""

import contextlib
import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

from soundstream_jax import errors
from soundstream_jax.devices import board, ending

# Between two lines that say what is waited for.
SAY_SECONDS = 10.0
# As long as a name server, or an earlier job's port, may be busy.
_BUSY_SECONDS = 30.0
_REFUSED = (errno.EADDRINUSE, errno.EACCES)
_LOOK_SECONDS = 1.0
_CONNECT_SECONDS = 3.0


@contextlib.contextmanager
def told(
  reason: str,
  address: str | None,
  process_id: int | None,
  *,
  seconds: int,
  code: int,
) -> Iterator[None]:
  """Says every ten seconds what a block waits for; ends the process in time.

  Args:
    reason: that this process is one of several, NAME=VALUE.
    address: HOST:PORT of process 0; None: known once jax has found it.
    process_id: of this process, likewise.
    seconds: that the block may take.
    code: with which the process then ends.
  """
  done = threading.Event()

  def state() -> str:
    found = address or board.coordinator()
    if found is None:
      return "has found nobody"
    return _state(
      found, board.process_id() if process_id is None else process_id
    )

  threading.Thread(
    target=_tell, args=(done, reason, state, seconds, code), daemon=True
  ).start()
  try:
    yield
  finally:
    done.set()


def look_up(flag: str, address: str) -> None:
  """Waits until a host's name is known, where it may yet become so.

  Args:
    flag: that has the address, for messages.
    address: HOST:PORT.

  Raises:
    InputError: there is no such host.
  """
  in_pod = "KUBERNETES_SERVICE_HOST" in os.environ
  began = time.monotonic()
  while (error := _unknown(address)) is not None:
    busy = error.errno == socket.EAI_AGAIN
    if not in_pod and not (busy and time.monotonic() - began < _BUSY_SECONDS):
      raise errors.InputError(
        f"{flag}={address}: there is no such host ({error.strerror}). Give "
        "the name or the IP address of process 0's host."
      )
    time.sleep(_LOOK_SECONDS)


def until_free(address: str) -> None:
  """Waits until process 0 can listen on its port; jax would crash.

  Args:
    address: HOST:PORT, of this host.

  Raises:
    InputError: another program does, and goes on to.
  """
  port = int(address.rpartition(":")[2])
  deadline = time.monotonic() + _BUSY_SECONDS
  while (error := _taken(port)) is not None:
    if time.monotonic() > deadline:
      raise errors.InputError(
        f"--coordinator={address}: process 0 cannot listen on the port {port} "
        f"of this host ({error.strerror}). Use another one, in all processes."
      )
    time.sleep(_LOOK_SECONDS)


def _tell(
  done: threading.Event,
  reason: str,
  state: Callable[[], str],
  seconds: int,
  code: int,
) -> None:
  began = time.monotonic()
  while (waited := time.monotonic() - began) < seconds:
    if done.wait(min(SAY_SECONDS, seconds - waited)):
      return
    so_far = state()
    if done.is_set():
      return
    _print(
      f"waiting for the other processes ({reason}): this one {so_far}; "
      f"{time.monotonic() - began:.0f} s of --join_seconds={seconds}"
    )
  errors.report(
    errors.InputError(
      f"{reason} says that this process is one of several, but they have not "
      f"found each other within --join_seconds={seconds}: this one {so_far}. "
      "Is process 0 running, and reachable from here? Unset a variable that is "
      "left over from another job."
    )
  )
  ending.end(code)


def _state(address: str, process_id: int) -> str:
  """Says how far this process gets with process 0."""
  host, _, port = address.rpartition(":")
  if (error := _unknown(address)) is not None:
    return f"looks for the host {host!r}, which is unknown ({error.strerror})"
  try:
    with socket.create_connection(
      (host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS
    ):
      verb = "reaches" if process_id else "listens on"
      return f"{verb} {address}, and not all others have come"
  except OSError as error:
    return f"cannot reach {address} ({error.strerror or error})"


def _taken(port: int) -> OSError | None:
  """Returns why nothing can listen on a port of this host; None if it can."""
  both = socket.has_dualstack_ipv6()
  family = socket.AF_INET6 if both else socket.AF_INET
  try:
    with socket.create_server(("", port), family=family, dualstack_ipv6=both):
      return None
  except OSError as error:
    return error if error.errno in _REFUSED else None


def _unknown(address: str) -> socket.gaierror | None:
  """Returns why the host of HOST:PORT has no address; None if it has one."""
  try:
    socket.getaddrinfo(address.rpartition(":")[0].strip("[]"), None)
  except socket.gaierror as error:
    return error
  except UnicodeError:  # an empty label, or one of more than 63 letters
    return socket.gaierror(socket.EAI_NONAME, "it is no name of a host")
  return None


def _print(text: str) -> None:
  with contextlib.suppress(OSError, ValueError):
    print(text, file=sys.stderr, flush=True)
