"""Laws of the format web: transformers.js opens it, and its codes are ours."""

import pathlib
import shutil
import subprocess

import numpy as np
import pytest

from soundstream_jax.export import folder, golden
from soundstream_jax.export import format as format_lib
from tests.browser import driving

pytestmark = pytest.mark.browser

HERE = pathlib.Path(__file__).with_name("transformers_js")
# The bundle, and the runtime that it brings.
FILES = (
  "@huggingface/transformers/dist/transformers.min.js",
  "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.mjs",
  "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm",
)


@pytest.fixture
def opened(codec, registry, browser, served, tmp_path):
  """transformers.js, served with a folder of the format beside it."""
  for name in ("package.json", "package-lock.json"):
    shutil.copyfile(HERE / name, tmp_path / name)
  subprocess.run(
    ["npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit"],
    cwd=tmp_path,
    check=True,
    capture_output=True,
  )
  site = tmp_path / "site"
  model, options = codec.as_exported(), format_lib.Options()
  folder.write(site / "model", "web", model, options, beside={})
  for name in ("index.html", "main.js"):
    shutil.copyfile(HERE / name, site / name)
  for name in FILES:
    target = site / pathlib.PurePath(name).name
    shutil.copyfile(tmp_path / "node_modules" / name, target)
  # It is half a gigabyte, of which the browser needs a twentieth.
  shutil.rmtree(tmp_path / "node_modules")
  address = served(site)
  browser.get_log("performance")
  browser.get(address)
  yield browser
  driving.check_origin(browser, address)


def test_it_is_a_mimi_model_whose_codes_and_audio_are_pythons(opened, codec):
  audio = golden.sound(codec.sample_rate, codec.hop_samples, 2.0)
  driving.until(
    lambda: opened.execute_script("return typeof coded") == "function"
  )
  opened.set_script_timeout(120)
  found = opened.execute_async_script(
    "coded(arguments[0]).then(arguments[1], (e) => arguments[1](String(e)))",
    audio.tolist(),
  )
  assert isinstance(found, dict), found
  codes = np.reshape(found["codes"], found["shape"])
  expected = codec.encode(audio)
  np.testing.assert_array_equal(codes[0].T, expected)
  np.testing.assert_allclose(
    found["audio"], codec.decode(expected), rtol=0, atol=1e-4
  )
