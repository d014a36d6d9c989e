"""Laws of the folder that make browser serves, and of who serves it."""

import json
import pathlib
import re
import urllib.error
import urllib.request

import pytest

from examples.browser import build, serve
from soundstream_jax import errors

pytestmark = pytest.mark.browser

HERE = pathlib.Path(build.__file__).parent


def test_the_lock_pins_digests_and_names_no_registry():
  lock = json.loads((HERE / "package-lock.json").read_text())
  wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
  assert all(re.fullmatch(r"\d+\.\d+\.\d+", v) for v in wanted.values())
  packages = {name: p for name, p in lock["packages"].items() if name}
  assert set(wanted) <= {name.rpartition("/")[2] for name in packages}
  for name, package in packages.items():
    assert package["integrity"].startswith("sha512-"), name
    assert "resolved" not in package, name


def test_no_model_is_one_line_that_says_how_to_get_one(tmp_path):
  with pytest.raises(errors.InputError) as refused:
    build.main([f"--model={tmp_path / 'none'}", f"--out={tmp_path / 'out'}"])
  assert "make demo" in str(refused.value)
  assert "\n" not in str(refused.value)


def test_every_file_of_the_page_is_served_with_its_type(site, address):
  types = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".onnx": "application/octet-stream",
    ".wav": "audio/wav",
  }
  page = site / "page"
  files = [path for path in page.rglob("*") if path.is_file()]
  ours = {path.relative_to(HERE) for path in HERE.rglob("*.js")}
  assert ours <= {path.relative_to(page) for path in files}
  for path in files:
    url = address + str(path.relative_to(page))
    with urllib.request.urlopen(url) as answer:
      assert answer.headers["Content-Type"] == types[path.suffix]
      for name, value in serve.HEADERS.items():
        assert answer.headers[name] == value
      assert answer.read() == path.read_bytes()


def test_nothing_outside_of_the_folder_is_served(site, address):
  (site / "secret").write_text("secret")
  for path in ("../secret", "%2e%2e/secret", "//etc/passwd"):
    with pytest.raises(urllib.error.HTTPError):
      urllib.request.urlopen(address + path)


def test_the_pages_policy_is_the_servers(site):
  html = (site / "page/index.html").read_text()
  (policy,) = re.findall(r'Policy" content="([^"]+)"', html)
  # A page cannot say itself who may frame it.
  said = {" ".join(rule.split()) for rule in policy.split(";")}
  served = {rule.strip() for rule in serve.POLICY.split(";")}
  assert said == served - {"frame-ancestors 'none'"}


def test_a_port_that_is_taken_is_one_line(site):
  with serve.start(site / "page", 0) as server:
    port = server.server_address[1]
    with pytest.raises(errors.InputError, match="cannot be used"):
      serve.start(site / "page", port)
  with pytest.raises(errors.InputError, match="make browser"):
    serve.start(site, 0)
