"""A trained model, the page built for it, and a Chromium that opens it."""

import pathlib
import shutil
import threading

import pytest

from examples.browser import build, serve
from soundstream_jax import errors
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import manifest
from soundstream_jax.export.onnx import format as onnx_format
from tests import outside
from tests.browser import driving
from tests.export import trained

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
  return trained.train(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def codec(workdir):
  return codec_lib.Codec.load(workdir)


@pytest.fixture(scope="session")
def registry():
  outside.npm_registry()


@pytest.fixture(scope="session")
def site(workdir, registry, tmp_path_factory):
  """The folder that `make browser MODEL=WORKDIR` builds."""
  out = tmp_path_factory.mktemp("site")
  try:
    build.main([f"--model={workdir}", f"--out={out}"])
  except errors.InputError as error:
    pytest.fail(str(error))
  shutil.rmtree(out / "packages")  # a tenth of which the page has
  return out


@pytest.fixture(scope="session")
def served(site):
  """Returns served(folder) -> the address it has."""
  servers = []

  def start(folder):
    server = serve.start(folder, 0)
    servers.append(server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "http://{}:{}/".format(*server.server_address)

  yield start
  for server in servers:
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def address(site, served):
  return served(site / "page")


@pytest.fixture
def page_of(site, served, browser, downloads, tmp_path):
  """Returns page_of(codec) -> the page, opened, with that model."""
  opened = []

  def make(codec):
    folder, model = tmp_path / "page", codec.as_exported()
    shutil.copytree(site / "page", folder)
    shutil.rmtree(folder / "model")
    options = format_lib.Options()
    files = onnx_format.FORMAT.files(model, options)
    about = manifest.make(
      "onnx", model, options, files=files, tensors={}, notes=options.notes
    )
    (tmp_path / "onnx").mkdir()
    for name, data in {
      **files,
      manifest.NAME: manifest.to_bytes(about),
    }.items():
      (tmp_path / "onnx" / name).write_bytes(data)
    build.copy_model(tmp_path / "onnx", folder / "model")
    address = served(folder)
    page = driving.Page(browser, downloads)
    page.open(address)
    opened.append((page, address))
    return page

  yield make
  for page, address in opened:
    page.check_quiet(address)


@pytest.fixture(scope="session")
def downloads(tmp_path_factory):
  return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def browser(site, downloads):
  """A Chromium without a window, whose microphone hears the example."""
  started = driving.start(
    downloads=downloads, heard=site / "page/model/example.wav"
  )
  yield started
  started.quit()


@pytest.fixture
def page(browser, address, downloads):
  """The page, just opened; at the end it asked its own origin alone."""
  opened = driving.Page(browser, downloads)
  opened.open(address)
  yield opened
  opened.check_quiet(address)
