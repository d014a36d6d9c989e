"""Laws of waiting for a job's other processes: never in silence, never for ever."""

import os
import socket
import threading
import time

import pytest

from soundstream_jax import errors
from soundstream_jax.devices import ending, joining, waiting


@pytest.fixture
def listening():
  """HOST:PORT of a program that listens."""
  with socket.create_server(("127.0.0.1", 0)) as server:
    yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def silent():
  """HOST:PORT on which nobody listens."""
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{found.getsockname()[1]}"


@pytest.fixture
def ended(monkeypatch):
  """Exit codes with which this process would have ended."""
  codes = []
  monkeypatch.setattr(ending, "end", codes.append)
  return codes


def test_a_host_that_does_not_exist_is_refused_at_once(monkeypatch):
  monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
  began = time.monotonic()
  for address in ("nowhere.invalid:1234", "a..b:1234", f"{'a' * 70}:1234"):
    with pytest.raises(errors.InputError, match="there is no such host"):
      joining.initialize(coordinator=address, num_processes=2, process_id=1)
  assert time.monotonic() - began < 60


def test_a_name_in_kubernetes_may_appear_later(monkeypatch):
  monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
  monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.01)
  left = [socket.gaierror(socket.EAI_NONAME, "not known")] * 3 + [None]
  monkeypatch.setattr(waiting, "_unknown", lambda address: left.pop(0))
  waiting.look_up("--coordinator", "job-0.service:1234")
  assert left == []


def test_a_name_server_that_is_busy_is_asked_again(monkeypatch):
  monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
  monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.01)
  monkeypatch.setattr(waiting, "_BUSY_SECONDS", 0.1)
  busy = socket.gaierror(socket.EAI_AGAIN, "try again")
  monkeypatch.setattr(waiting, "_unknown", lambda address: busy)
  with pytest.raises(errors.InputError, match="try again"):
    waiting.look_up("--coordinator", "host:1234")


def test_a_port_that_another_program_has_is_refused(listening, monkeypatch):
  monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.01)
  monkeypatch.setattr(waiting, "_BUSY_SECONDS", 0.1)
  with pytest.raises(errors.InputError, match="cannot listen on the port"):
    joining.initialize(coordinator=listening, num_processes=2, process_id=0)


def test_a_port_that_becomes_free_is_taken(monkeypatch):
  monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.01)
  server = socket.create_server(("127.0.0.1", 0))
  address = f"127.0.0.1:{server.getsockname()[1]}"
  threading.Timer(0.2, server.close).start()
  waiting.until_free(address)
  assert server.fileno() == -1  # it was waited for


@pytest.mark.parametrize(
  ("process_id", "address", "said"),
  [
    (1, "silent", "cannot reach 127.0.0.1:"),
    (0, "silent", "cannot reach 127.0.0.1:"),
    (1, "listening", "reaches 127.0.0.1:"),
    (0, "listening", "listens on 127.0.0.1:"),
    (1, "nowhere.invalid:1", "looks for the host 'nowhere.invalid', which is"),
    (None, None, "has found nobody"),
  ],
)
def test_who_waits_says_for_what_and_ends_in_time(
  process_id, address, said, ended, capfd, monkeypatch, request
):
  if address in ("silent", "listening"):
    address = request.getfixturevalue(address)
  monkeypatch.setattr(waiting, "SAY_SECONDS", 0.3)
  with waiting.told("A=1", address, process_id, seconds=1, code=7):
    deadline = time.monotonic() + 30
    while not ended and time.monotonic() < deadline:
      time.sleep(0.05)
  assert ended == [7]
  *lines, last = capfd.readouterr().err.splitlines()
  assert len(lines) >= 2
  for line in lines:
    assert line.startswith(
      f"waiting for the other processes (A=1): this one {said}"
    )
    assert line.endswith("of --join_seconds=1")
  assert last.startswith("error: A=1 says that this process is one of several")
  assert f"within --join_seconds=1: this one {said}" in last


def test_who_has_found_the_others_says_nothing(ended, capfd, monkeypatch):
  monkeypatch.setattr(waiting, "SAY_SECONDS", 0.1)
  with waiting.told("A=1", "127.0.0.1:1", 1, seconds=1, code=7):
    pass
  time.sleep(0.3)
  assert ended == []
  assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
  ("variable", "said"),
  [
    ("JOB_COMPLETION_INDEX", "give --coordinator=JOB-0.SERVICE:1234"),
    ("JAX_COORDINATOR_ADDRESS", "Set JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
  ],
)
def test_an_environment_that_says_too_little_is_one_line(
  variable, said, monkeypatch
):
  for name in list(os.environ):
    if name.startswith(("SLURM_", "OMPI_", "TPU_", "MEGASCALE_", "JAX_NUM")):
      monkeypatch.delenv(name)
  monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
  monkeypatch.setenv(variable, "0" if variable[:3] == "JOB" else "localhost:1")
  with pytest.raises(errors.InputError, match="one of several") as refused:
    joining.initialize()
  assert said in str(refused.value)
