"""Drives the page in Chromium: opens, presses, waits, saves."""

import re
import time

import numpy as np

from tests import outside


def start(*, downloads, heard):
  """Returns a Chromium that leaves this machine's network alone.

  Args:
    downloads: folder where files are saved.
    heard: wav file that the microphone hears, again and again.
  """
  found, driver = outside.chromium()
  from selenium import webdriver
  from selenium.webdriver.chrome import service

  options = webdriver.ChromeOptions()
  options.binary_location = found
  for word in (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--mute-audio",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    f"--use-file-for-fake-audio-capture={heard}",
  ):
    options.add_argument(word)
  options.add_experimental_option(
    "prefs",
    {
      "download.default_directory": str(downloads),
      # Several files, one after the other, without a question.
      "profile.default_content_setting_values.automatic_downloads": 1,
    },
  )
  logged = {"browser": "ALL", "performance": "ALL"}
  options.set_capability("goog:loggingPrefs", logged)
  return webdriver.Chrome(options=options, service=service.Service(driver))


def until(condition, seconds=60.0):
  """Returns the first true value of a condition."""
  end = time.monotonic() + seconds
  while not (value := condition()):
    assert time.monotonic() < end, condition
    time.sleep(0.05)
  return value


def check_origin(browser, address):
  """Nothing but files of one origin was asked for."""
  asked = {
    url
    for line in browser.get_log("performance")
    for url in re.findall(r'"url":"([^"]{0,200})', line["message"])
    if '"Network.requestWillBeSent"' in line["message"]
  }
  own = (address, "data:", f"blob:{address}")
  assert len(asked) > 3
  assert {url for url in asked if not url.startswith(own)} == set()


class Page:
  """The page in a browser, and what a visitor does there."""

  def __init__(self, browser, downloads):
    self.browser, self.downloads = browser, downloads

  def open(self, address):
    self.shown(width=1200, mode="light")
    for kind in ("browser", "performance"):
      self.browser.get_log(kind)
    self.browser.get(address)
    until(lambda: self.script("return document.body.dataset.ready"))

  def check_quiet(self, address):
    """Nothing was complained of, and no other origin asked."""
    assert self.browser.get_log("browser") == []
    check_origin(self.browser, address)

  def shown(self, *, width, mode):
    """Sets the window's width and whether it is dark."""
    self.browser.execute_cdp_cmd(
      "Emulation.setDeviceMetricsOverride",
      {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    self.browser.execute_cdp_cmd(
      "Emulation.setEmulatedMedia",
      {"features": [{"name": "prefers-color-scheme", "value": mode}]},
    )

  def script(self, code, *arguments):
    return self.browser.execute_script(code, *arguments)

  def at(self, name):
    return self.browser.find_element("id", name)

  def text(self, name):
    return self.at(name).text

  def press(self, name):
    until(self.at(name).is_enabled)
    self.at(name).click()

  def set(self, name, value):
    """Moves a slider, or chooses."""
    self.script(
      "const one = document.getElementById(arguments[0]);"
      "one.value = arguments[1]; one.dispatchEvent(new Event('input'))",
      name,
      str(value),
    )

  def check(self, name):
    self.at(name).click()

  def give(self, path):
    """Opens a file, and waits until it is decoded."""
    self.script("document.getElementById('status').textContent = ''")
    self.at("file").send_keys(str(path))
    until(lambda: self.text("status").startswith(f"{path.stem}: "), 120)
    self.done()

  def offer(self, path):
    """Opens a file that is refused; returns what the page says."""
    self.script("document.getElementById('error').textContent = ''")
    self.at("file").send_keys(str(path))
    return until(lambda: self.text("error"))

  def done(self):
    until(self.at("save-coded").is_enabled, 120)

  def record(self, seconds):
    """Records so long by the page's own count, and waits for the codes."""
    self.press("record")
    until(lambda: self.recorded() >= seconds)
    self.press("record")
    self.done()

  def recorded(self):
    """Seconds that the page says it has recorded; 0 while it does not."""
    if self.text("status") != "Recording…":
      return 0.0
    return float(self.text("time").removesuffix(" s"))

  def save(self, what):
    """Presses a button; returns the bytes of the file that is saved."""
    for old in self.downloads.iterdir():
      old.unlink()
    self.press(f"save-{what}")
    (path,) = until(self.saved)
    return path.read_bytes()

  def saved(self):
    found = list(self.downloads.iterdir())
    whole = [path for path in found if path.suffix in (".sstr", ".wav")]
    return whole if whole == found else []


def floats(data):
  """Returns the samples [N, C] of a wav file of float32, and its rate."""
  assert data[:4] == b"RIFF" and data[8:16] == b"WAVEfmt "
  assert int.from_bytes(data[4:8], "little") == len(data) - 8
  tag, channels = np.frombuffer(data[20:24], "<u2")
  (rate_hz,) = np.frombuffer(data[24:28], "<u4")
  assert tag == 3 and data[50:54] == b"data"
  assert int.from_bytes(data[54:58], "little") == len(data) - 58
  samples = np.frombuffer(data, "<f4", offset=58)
  return samples.reshape(-1, int(channels)), int(rate_hz)
