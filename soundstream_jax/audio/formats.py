"""Suffixes of audio files, by who reads them: libsndfile, or ffmpeg."""

import functools

import soundfile

# Suffixes that files of libsndfile's formats usually have. Not there: RAW,
# which has no header, and MAT4 and MAT5: most .mat files hold no sound. Such a
# file is read all the same where it is named itself.
_USUAL = {
  "AIFF": ".aif .aiff .aifc",
  "AU": ".au .snd",
  "AVR": ".avr",
  "CAF": ".caf",
  "FLAC": ".flac",
  "HTK": ".htk",
  "IRCAM": ".sf .ircam",
  "MP3": ".mp3 .mp2 .mp1",
  "NIST": ".nist .sph",
  "OGG": ".ogg .oga .opus",
  "PAF": ".paf .fap",
  "PVF": ".pvf",
  "RF64": ".rf64",
  "SD2": ".sd2",
  "SDS": ".sds",
  "SVX": ".svx .8svx .16svx .iff",
  "VOC": ".voc",
  "W64": ".w64",
  "WAV": ".wav .wave .bwf",
  "WVE": ".wve",
  "XI": ".xi",
}

# What ffmpeg adds. Not there: .ts and .mts, which are programs as often.
_FFMPEG = (
  ".3g2 .3gp .aa3 .aac .ac3 .adts .amr .ape .asf .avi .awb .bw64 .dff .dsf "
  ".dts .eac3 .ec3 .f4a .f4v .flv .m2ts .m4a .m4b .m4r .m4v .mka .mkv .mlp "
  ".mov .mp4 .mpc .mpeg .mpg .oma .ogv .qoa .ra .rm .shn .spx .tak .thd .tta "
  ".vob .vqf .weba .webm .wma .wmv .wtv .wv"
)


@functools.cache
def of_libsndfile() -> frozenset[str]:
  """Returns the suffixes that the installed libsndfile reads, in lower case."""
  known = soundfile.available_formats()
  return frozenset(
    suffix
    for name, suffixes in _USUAL.items()
    if name in known
    for suffix in suffixes.split()
  )


@functools.cache
def of_ffmpeg() -> frozenset[str]:
  """Returns the suffixes that ffmpeg reads and libsndfile does not."""
  return frozenset(_FFMPEG.split()) - of_libsndfile()
