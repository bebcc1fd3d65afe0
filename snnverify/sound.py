"""Folders of WAV files as MFCC features.

Two layouts are read: ``label/*.wav`` (Speech Commands; P. Warden, arXiv:1804.03209) and ``digit_speaker_i.wav`` (Free
Spoken Digit Dataset). WAV is read by scipy; features are those of kaldi-native-fbank, Kaldi's front end in a wheel
without dependencies: librosa brings a dozen packages, torchaudio follows the builds of torch, python_speech_features
has had no release since 2017.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .content import Array
from .errors import DataError

COEFFICIENTS, FRAMES = 40, 101  # of one second: windows of 25 ms every 10 ms, centred on 0, 10, ... 1000 ms
WINDOW, SHIFT = 25, 10  # ms
SPLITS = ("train", "validation", "test")
FEW_SPEAKERS = 4
_DIGIT = re.compile(r"(?P<label>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)\.wav")


@dataclass(frozen=True)
class Recording:
    """One file, what is said in it, and the part of the data set that it belongs to."""

    path: Path
    label: str
    split: str


def holds(folder: Path) -> bool:
    """Whether a folder holds WAV files in one of the two layouts."""
    return any(folder.glob("*.wav")) or any(folder.glob("*/*.wav"))


def recordings(folder: Path) -> list[Recording]:
    """List the files of a folder with label and split, in the order of their names.

    Splits are those of the data sets' own conventions. Spoken digits: indices 0 to 4 are the test set, 0 to 9 where there
    are at most four speakers. Speech Commands: ``testing_list.txt`` and ``validation_list.txt`` where the folder has
    them, else the hash of the speaker's name (its README: SHA-1 of the name before ``_nohash_``, a tenth each).

    Raises
    ------
    DataError
        No file, or a name that tells no label.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one of label/*.wav or digit_speaker_i.wav")
    flat = sorted(folder.glob("*.wav"))
    if flat:
        return _digits(flat)
    found = sorted(p for p in folder.glob("*/*.wav") if not p.parent.name.startswith("_"))  # _background_noise_
    if not found:
        raise DataError(f"{folder}: no WAV file; give a folder of label/*.wav or digit_speaker_i.wav")
    lists = {split: _listed(folder / f"{name}_list.txt") for split, name in (("test", "testing"), ("validation",) * 2)}
    return [Recording(p, p.parent.name, _command_split(p, lists)) for p in found]


def _digits(files: Sequence[Path]) -> list[Recording]:
    named = [(p, _DIGIT.fullmatch(p.name)) for p in files]
    odd = [p for p, m in named if m is None]
    if odd:
        raise DataError(
            f"{odd[0]}: the name tells no label; name it digit_speaker_i.wav, or put it in a folder of its label"
        )
    known = [(p, m) for p, m in named if m is not None]
    tested = 10 if len({m["speaker"] for _, m in known}) <= FEW_SPEAKERS else 5
    return [Recording(p, m["label"], "test" if int(m["index"]) < tested else "train") for p, m in known]


def _listed(path: Path) -> frozenset[str] | None:
    return frozenset(path.read_text("utf-8").split()) if path.is_file() else None


def _command_split(path: Path, lists: dict[str, frozenset[str] | None]) -> str:
    if any(names is not None for names in lists.values()):
        name = f"{path.parent.name}/{path.name}"
        return next((split for split, names in lists.items() if names and name in names), "train")
    speaker = path.name.split("_nohash_")[0]
    percent = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % 2**27 * 100 / (2**27 - 1)
    return "validation" if percent < 10 else "test" if percent < 20 else "train"


def features(folder: Path, split: str | None = None) -> tuple[Array, Array, str]:
    """Return MFCC features [N, 40, 101] (float32), labels [N] (int64), and what was done, in words.

    A clip is one second: shorter ones get zeros at their end, longer ones lose theirs. Labels are numbered in the order
    of their names, over all splits.

    Parameters
    ----------
    folder : Path
    split : {"train", "validation", "test"}, optional
        All files without one.

    Raises
    ------
    DataError
        A file that cannot be read, is empty, has two channels or another rate than the first; an empty split.
    """
    files = recordings(folder)
    labels = {name: i for i, name in enumerate(sorted({r.label for r in files}))}
    chosen = [r for r in files if split in (None, r.split)]
    if not chosen:
        raise DataError(f"{folder}: none of its {len(files)} files is in the {split} set; "
                        f"there are {', '.join(sorted({r.split for r in files}))}")  # fmt: skip
    first, x, cut = 0, np.empty((len(chosen), COEFFICIENTS, FRAMES), np.float32), 0
    for i, r in enumerate(chosen):
        rate, samples = read(r.path)
        first = first or rate
        if rate != first:
            raise DataError(
                f"{r.path}: {rate} samples a second, {chosen[0].path.name} has {first}; resample it to one rate"
            )
        cut += len(samples) > rate
        x[i] = mfcc(samples, rate)
    note = (f"MFCC, {COEFFICIENTS} coefficients x {FRAMES} frames of {WINDOW} ms every {SHIFT} ms at {first} Hz, by "
            f"kaldi-native-fbank {version('kaldi-native-fbank')}; {cut} cut to 1 s; labels {' '.join(labels)}")  # fmt: skip
    return x, np.array([labels[r.label] for r in chosen], np.int64), note


def read(path: Path) -> tuple[int, Array]:
    """Rate in Hz and samples in [-1, 1] of a mono WAV file.

    Raises
    ------
    DataError
        It cannot be read, ends early, is empty, has several channels, or holds NaN or infinity.
    """
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", wavfile.WavFileWarning)
            rate, samples = wavfile.read(path)
    except Exception as e:  # scipy answers a damaged header with whatever it runs into
        raise DataError(
            f"{path}: not a WAV file that can be read ({type(e).__name__}: {e}); write it as 16-bit PCM"
        ) from e
    early = [str(w.message) for w in told if "EOF" in str(w.message)]
    if early:
        raise DataError(f"{path}: it ends before its header says; copy it again")
    if samples.ndim > 1:
        raise DataError(f"{path}: {samples.shape[1]} channels; give mono")
    if not len(samples):
        raise DataError(f"{path}: it holds no sample; drop it")
    if rate < 1000 // SHIFT * 2:
        raise DataError(f"{path}: {rate} samples a second are too few for windows of {WINDOW} ms; give 8000 or more")
    scaled = np.asarray(samples, np.float64)
    if samples.dtype.kind == "u":  # 8-bit PCM has its zero at 128
        scaled = scaled / 2.0 ** (8 * samples.itemsize - 1) - 1
    elif samples.dtype.kind == "i":
        scaled = scaled / 2.0 ** (8 * samples.itemsize - 1)
    if not np.all(np.isfinite(scaled)):
        raise DataError(f"{path}: it holds NaN or infinity; mend or drop it")
    return int(rate), scaled


def mfcc(samples: Array, rate: int) -> Array:
    """MFCC of the first second, float32 [40, 101]; deterministic (no dither).

    Parameters
    ----------
    samples : array [n]
        In [-1, 1].
    rate : int
        Hz.
    """
    import kaldi_native_fbank as knf

    window, shift = rate * WINDOW // 1000, rate * SHIFT // 1000
    signal = np.zeros(window + shift * (FRAMES - 1))
    clip = samples[:rate]
    signal[window // 2 : window // 2 + len(clip)] = clip  # frame k is centred on k shifts
    options = knf.MfccOptions()
    options.frame_opts.samp_freq = rate
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = options.num_ceps = COEFFICIENTS
    options.use_energy = False
    front = knf.OnlineMfcc(options)
    front.accept_waveform(rate, signal.tolist())
    front.input_finished()
    return np.stack([front.get_frame(k) for k in range(front.num_frames_ready)], axis=1)
