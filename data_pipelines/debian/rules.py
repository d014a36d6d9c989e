"""Says which files of which Debian package are speech, music and noise.

A rule also says who or what a file is of, and which split that goes to: see
`debian_audio` for what was left out and why.
"""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Rule:
  """Which files of a package are taken, and where to.

  Attributes:
    group: of all these files; the path's own group is added to it.
    path: regular expression of the path in the package, with at most one
      group.
    split: of groups that are not named below; '' leaves them out.
    train, validation, test: the path's groups that go there.
    left_out: regular expression of names without folder and suffix.
  """

  package: str
  group: str
  path: str
  split: str
  train: tuple[str, ...] = ()
  validation: tuple[str, ...] = ()
  test: tuple[str, ...] = ()
  left_out: str = ""

  def describe(self, path: str) -> tuple[str, str] | None:
    """Returns (group, split); None if the file is not to be taken."""
    match = re.fullmatch(self.path, path)
    own = "/".join(match.groups())
    named = {
      "train": self.train,
      "validation": self.validation,
      "test": self.test,
    }
    split = next((s for s in named if own in named[s]), self.split)
    stem = path.rpartition("/")[2].rpartition(".")[0]
    if not split or re.fullmatch(self.left_out, stem):
      return None
    return f"{self.group}/{own}" if own else self.group, split


# The first rule whose path fits decides.
RULES = {
  "speech": (
    Rule(
      "fillets-ng-data-cs",
      "fillets",
      r".*/cs/(?:[^/]*[-_])?([mv])(?:[-_][^/]*)?\.ogg",
      "train",
    ),
    Rule(
      "fillets-ng-data-cs", "fillets", r".*/sound/(.+)/cs/[^/]+\.ogg", "train"
    ),
    Rule(
      "tuxpaint-stamps-default",
      "tuxpaint",
      r".*_desc_(\w+)\.ogg",
      "",
      train=("bg", "es", "ru"),
      validation=("lt", "ml", "nl"),
      test=("da", "fr", "ro"),
    ),
    Rule(
      "tuxpaint-stamps-default", "tuxpaint/en", r".*_desc\.ogg", "validation"
    ),
    Rule(
      "klettres-data",
      "klettres",
      r"usr/share/klettres/([^/]+)/.+",
      "",
      # Languages that tuxpaint has too are on the same side as there.
      validation=("en", "en_GB", "hu", "lt", "ml", "nl"),
      test=("ar", "da", "de", "fr", "he", "it", "nb", "nds", "pt_BR", "uk"),
    ),
    Rule(
      "unknown-horizons",
      "unknown-horizons",
      r".*/audio/voice/([^/]+)/.+",
      "test",
    ),
  ),
  "music": (
    Rule(
      "fretsonfire-songs-muldjord",
      "muldjord",
      r".*/songs/muldjord/([^/]+)/.+",
      "train",
      test=("mutilated_mime",),
    ),
    Rule(
      "fretsonfire-songs-sectoid",
      "sectoid",
      r".*/songs/sectoid/([^/]+)/.+",
      "train",
      validation=("Feelings",),
    ),
    Rule(
      "hedgewars-data",
      "hedgewars",
      r".*/Data/Music/([^/]+)\.ogg",
      "train",
      validation=("City", "Rock"),  # by HSR, says credits.txt
      test=("Fruit", "Jungle"),  # by Valentin Kraevskiy
    ),
    Rule(
      "singularity-music",
      "singularity",
      r".*/music/(.+)\.ogg",
      "train",
      validation=("Awakening", "win/Apex Aleph"),
      test=("Coherence", "lose/Chimes They Fade", "lose/March Thee to Dis"),
    ),
    Rule(
      "wesnoth-1.16-music",
      "wesnoth",
      r".*/music/([^/]+)\.ogg",
      "train",
      # By Stephen Rozanc and Joseph G. Toscano; by Gianmarco Leone.
      validation=("frantic", "northerners", "loyalists", "revelation"),
      test=("the_dangerous_symphony", "the_deep_path"),
      left_out="silence",
    ),
    Rule(
      "unknown-horizons",
      "unknown-horizons",
      r".*/audio/music/(.+)\.ogg",
      "test",
    ),
  ),
  "noise": (
    Rule(
      "hedgewars-data",
      "hedgewars",
      r".*/Data/Sounds/[^/]+\.ogg",
      "validation",
      left_out=(
        r"hell_.*|Hellish|hogchant.*|Kiss|Yoohoo|BirdyLay|lowgravity|skip"
        r"|bee|beewater|lasersight|\d[A-G]|ride_of_the_valkyries"
      ),
    ),
    Rule(
      "lmms-common",
      "lmms",
      r".*/samples/(?!shapes/|waveforms/)([^/]+)/[^/]+",
      "train",
      left_out=(
        r".*choir.*|chorus.*|raving_crowd.*|breath.*"
        r"|kick04|scratch01|wind_chimes01|harpsichord01|hit01"
      ),
    ),
    Rule(
      "openttd-opensfx",
      "opensfx",
      r".*/opensfx/\d+\.wav",
      "train",
      left_out="000|001|030",  # two tunes and an "oooh", says titles.txt
    ),
    Rule(
      "sonic-pi-samples",
      "sonic-pi",
      r".*/samples/([^/_]+)_[^/]+\.flac",
      "train",
      left_out=(
        r"ambi_choir|misc_burp|glitch_robot.*"
        r"|vinyl_(?:rewind|backspin|scratch)"
      ),
    ),
    Rule(
      "tuxpaint-stamps-default",
      "tuxpaint",
      r".*/stamps/(animals|household|vehicles)/.+",
      "train",
      left_out=r".*_desc.*|toilet|hammer|saw|bathyscape",
    ),
    Rule(
      "ufoai-sound",
      "ufoai",
      r".*/sound/(?!aliens/|civilians/|soldiers/)([^/]+)/[^/]+",
      "train",
      validation=("doors", "misc", "seq", "ugv"),
      left_out="tv_newswav|radiomessage|aliencom|disco|jingle2?|talk|popup",
    ),
    Rule(
      "unknown-horizons",
      "unknown-horizons",
      r".*/audio/sounds/[^/]+\.ogg",
      "test",
    ),
  ),
}


def packages(kind: str) -> list[str]:
  """Returns the packages that have audio of a kind."""
  return sorted({rule.package for rule in RULES[kind]})


def describe(kind: str, name: str) -> tuple[str, str] | None:
  """Returns a file's (group, split); None if it is not to be taken.

  Args:
    name: PACKAGE/path in the package.
  """
  package, _, path = name.partition("/")
  for rule in RULES[kind]:
    if rule.package == package and re.fullmatch(rule.path, path):
      return rule.describe(path)
  return None
