"""Knows audio files by suffix and first bytes, and who reads them."""

import functools
import os
import pathlib

import soundfile

# Suffixes that files of libsndfile's formats usually have. Not there: RAW,
# which has no header; SD2, whose header is in another file; MAT4 and MAT5: most
# .mat files hold no sound, and one that does is read where it is named itself.
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

# What files begin with that ffmpeg reads and libsndfile does not.
_MAGICS = (
  b"\x1aE\xdf\xa3",  # Matroska, WebM
  b"0&\xb2u\x8ef\xcf\x11",  # ASF: wma, wmv
  b"\xff\xf1",  # AAC in ADTS
  b"\xff\xf9",
  b"#!AMR",
  b"FLV\x01",
  b"\x00\x00\x01\xba",  # MPEG
  b"wvpk",
  b"MAC ",
  b"MPCK",
  b"MP+",
  b"TTA1",
  b"tBaK",
  b".RMF",
  b"DSD ",
  b"FRM8",
  b"\x0bw",  # AC-3
  b"\x7f\xfe\x80\x01",  # DTS
  b"BW64",
)

# What texts begin with that name other files to be played.
_PLAYLISTS = (
  b"#extm3u",
  b"ffconcat",
  b"[playlist]",
  b"<?xml",
  b"<mpd",
  b"<smil",
  b"<asx",
  b"v=0",
  b"[reference]",
  b"rtsp://",
  b"http",
  b"file ",
  b"file:",
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


def is_of_ffmpeg(path: str | os.PathLike, begin: bytes) -> bool:
  """True for a file that ffmpeg reads, by its name or its first bytes."""
  suffix = pathlib.PurePath(path).suffix.lower()
  return (
    suffix in of_ffmpeg()
    or begin.startswith(_MAGICS)
    or begin[4:8] in (b"ftyp", b"moov")  # mp4, m4a, mov
    or (begin[:4] == b"RIFF" and begin[8:12] == b"AVI ")
  )


def is_playlist(begin: bytes) -> bool:
  """True for the first bytes of a text that names what is to be played."""
  text = begin.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
  return text.startswith(_PLAYLISTS)
