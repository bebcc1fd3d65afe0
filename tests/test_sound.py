"""Folders of WAV files: two layouts, their splits, and files that cannot be used."""

import numpy as np
import pytest
from scipy.fft import dct
from scipy.io import wavfile

from snnverify import sound
from snnverify.data import load_data
from snnverify.errors import DataError

RATE = 8000


def tone(hertz, seconds=0.5, seed=0):
    t = np.arange(int(RATE * seconds)) / RATE
    noise = np.random.default_rng(seed).normal(0, 0.01, len(t))
    return np.int16(2**14 * (np.sin(2 * np.pi * hertz * t) + noise) / 1.1)


def write(path, samples=None, rate=RATE):
    path.parent.mkdir(exist_ok=True)
    wavfile.write(path, rate, tone(440) if samples is None else samples)


@pytest.fixture
def digits(tmp_path):
    for digit in (0, 1):
        for index in (0, 9, 10, 11):
            write(tmp_path / f"{digit}_ann_{index}.wav", tone(300 + 900 * digit, seed=index))
    return tmp_path


def test_spoken_digits_by_their_convention(digits):
    train, test = (load_data(f"{digits}@{split}") for split in ("train", "test"))
    assert (train.x.shape, train.x.dtype) == ((4, 40, 101), np.float32)
    assert (train.y.tolist(), test.y.tolist()) == ([0, 0, 1, 1], [0, 0, 1, 1])
    assert len(load_data(str(digits))) == 8
    assert "8000 Hz" in train.note


def test_with_many_speakers_five_of_each_are_tested(tmp_path):
    for speaker in "abcde":
        for index in (4, 5):
            write(tmp_path / f"3_{speaker}_{index}.wav")
    found = sound.recordings(tmp_path)
    assert {(r.path.stem[-1], r.split) for r in found} == {("4", "test"), ("5", "train")}


def test_speech_commands_by_lists_or_by_the_speaker(tmp_path):
    for label in ("yes", "no"):
        for speaker in range(40):
            write(tmp_path / label / f"{speaker:08x}_nohash_0.wav", tone(500, 0.1))
    write(tmp_path / "_background_noise_" / "rain.wav")
    hashed = sound.recordings(tmp_path)
    assert (len(hashed), {r.label for r in hashed}) == (80, {"yes", "no"})
    split = {r.path.name: r.split for r in hashed if r.label == "yes"}
    assert all(split[r.path.name] == r.split for r in hashed)  # a speaker is in one set
    assert {"train", "validation", "test"} >= set(split.values()) > {"train"}
    (tmp_path / "testing_list.txt").write_text("yes/00000000_nohash_0.wav\n")
    (tmp_path / "validation_list.txt").write_text("no/00000001_nohash_0.wav\n")
    listed = [f"{r.label} {r.split}" for r in sound.recordings(tmp_path) if r.split != "train"]
    assert listed == ["no validation", "yes test"]


def test_features_are_the_cosine_transform_of_log_mel_energies():
    """Kaldi's definition, written out once more: pre-emphasis, Povey window, power spectrum, mel triangles, lifter 22."""
    signal = tone(700).astype(float) / 2**15
    got = sound.mfcc(signal, RATE)[:, 20]
    frame = np.concatenate([np.zeros(100), signal])[20 * 80 : 20 * 80 + 200]
    frame = frame - frame.mean()
    frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
    frame = frame * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 199)) ** 0.85
    power = np.abs(np.fft.rfft(frame, 256)) ** 2
    mel = lambda hertz: 1127 * np.log1p(hertz / 700)  # noqa: E731
    edges = np.linspace(mel(20), mel(RATE / 2), 42)
    bins = mel(np.arange(128) * RATE / 256)
    up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    energies = np.clip(np.minimum(up, down), 0, None) @ power[:128]
    cepstra = dct(np.log(energies), norm="ortho") * (1 + 11 * np.sin(np.pi * np.arange(40) / 22))
    # float32 throughout: 256-point transform and 40 logarithms, whose relative errors a lifter of at most 12 enlarges
    assert np.abs(got - cepstra).max() < 2.0**-24 * 256 * 12 * np.abs(np.log(energies)).max()


def test_a_clip_is_one_second(digits):
    long, short = tone(500, 1.5), tone(500, 1.0)
    assert np.array_equal(sound.mfcc(long / 2**15, RATE), sound.mfcc(long[: len(short)] / 2**15, RATE))
    assert sound.mfcc(np.zeros(10), RATE).shape == (40, 101)


@pytest.mark.parametrize(
    ("samples", "rate", "said"),
    [(np.zeros(0, np.int16), RATE, "no sample"), (tone(440), 16000, "8000"), (np.zeros((9, 2), np.int16), RATE, "mono"),
     (np.full(9, np.nan, np.float32), RATE, "NaN"), (tone(440), 99, "too few")],
)  # fmt: skip
def test_files_that_cannot_be_used(digits, samples, rate, said):
    write(digits / "1_ann_12.wav", samples, rate)
    with pytest.raises(DataError, match=said) as told:
        load_data(str(digits))
    assert "1_ann_12.wav" in str(told.value)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all" * 9])
def test_broken_files(digits, content):
    (digits / "1_ann_12.wav").write_bytes(content)
    with pytest.raises(DataError, match=r"1_ann_12\.wav"):
        load_data(str(digits))


def test_a_file_that_ends_early(digits):
    whole = (digits / "1_ann_9.wav").read_bytes()
    (digits / "1_ann_9.wav").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="1_ann_9"):
        load_data(str(digits))


def test_names_and_splits_that_are_not_there(digits):
    with pytest.raises(DataError, match="validation"):
        load_data(f"{digits}@validation")
    write(digits / "hello.wav")
    with pytest.raises(DataError, match=r"hello\.wav"):
        load_data(str(digits))
