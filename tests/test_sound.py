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


U = 2.0**-24  # unit roundoff of float32, in which kaldi-native-fbank computes
SPREAD = RATE / 256  # Hz between two points of the spectrum


def mel(hertz):
    return 1127 * np.log1p(hertz / 700)


def test_features_are_the_cosine_transform_of_log_mel_energies():
    """Kaldi's definition, written out once more: pre-emphasis, Povey window, power spectrum, mel triangles, lifter 22.

    Noise, because the error of a spectrum is relative to its greatest values, and small ones between them would lose theirs.
    """
    signal = np.random.default_rng(5).normal(0, 0.1, RATE)
    got = sound.mfcc(signal, RATE)[:, 20]
    raw = np.concatenate([np.zeros(100), signal])[20 * 80 : 20 * 80 + 200]
    centred = raw - raw.mean()
    before = np.concatenate([centred[:1], centred[:-1]])
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 199)) ** 0.85
    frame = (centred - 0.97 * before) * window
    spectrum = np.abs(np.fft.rfft(frame, 256))[:128]
    edges = np.linspace(mel(20), mel(RATE / 2), 42)
    bins, width = mel(np.arange(128) * SPREAD), edges[1] - edges[0]
    up, down = (bins - edges[:-2, None]) / width, (edges[2:, None] - bins) / width
    weights = np.clip(np.minimum(up, down), 0, None)
    energies = weights @ spectrum**2
    lifter = 1 + 11 * np.sin(np.pi * np.arange(40) / 22)
    cepstra = dct(np.log(energies), norm="ortho") * lifter

    # What float32 may make of that; n U bounds n roundings in a row (Higham, Accuracy and Stability, 2002, section 3.1).
    # Samples are rounded (1), their mean is a sum of 200 (200), and it is taken off (1):
    sample = 2 * U * np.abs(raw) + 200 * U * np.abs(raw).mean()
    # ... 0.97 and its product (2), the difference (1), window and its product (3):
    earlier = np.concatenate([sample[:1], sample[:-1]])
    emphasised = sample + 0.97 * earlier + 3 * U * (np.abs(centred) + 0.97 * np.abs(before))
    framed = window * emphasised + 3 * U * np.abs(frame)
    # A transform of 2^t points with t stages errs by t (mu + 4 sqrt(2) U) of the 2-norm, with roots of unity wrong by mu = U
    # (theorem 24.2); 8 stages and 2 for unpacking a real one. In 2-norms the transform itself multiplies by 16 = sqrt(256):
    line = 16 * (np.linalg.norm(framed) + 10 * (1 + 4 * 2**0.5) * U * np.linalg.norm(frame))
    power = 2 * spectrum * line + line**2 + 3 * U * (spectrum + line) ** 2  # two squares, a sum
    # Mel numbers are at most mel(4000): quotient, sum, logarithm, product (4 U); edges are sums of a start and steps (8 U).
    # A weight is a quotient of two differences, of which the divisor is at least a width:
    weight = (4 + 3 * 8) * U * mel(RATE / 2) / width + 2 * U
    near = np.minimum(up, down) > -weight  # points that the rounded triangle may hold
    energy = weights @ power + weight * near @ (spectrum**2 + power) + 128 * U * weights @ (spectrum**2 + power)
    logarithm = -np.log1p(-energy / energies) + U * (np.abs(np.log(energies)) + 1)
    # A sum of 40 products with rounded cosines (42), then the lifter and its product (3):
    cosines = np.abs(dct(np.eye(40), norm="ortho", axis=0))
    limit = lifter * (cosines @ (logarithm + 42 * U * np.abs(np.log(energies)))) + 3 * U * np.abs(cepstra)
    assert np.all(np.abs(got - cepstra) <= np.abs(limit))
    # and the limit tells another definition from this one:
    for other in (np.hamming(200), np.hanning(200)):
        again = weights @ np.abs(np.fft.rfft((centred - 0.97 * before) * other, 256)[:128]) ** 2
        assert np.any(np.abs(dct(np.log(again), norm="ortho") * lifter - cepstra) > np.abs(limit))
    assert np.any(np.abs(cepstra / lifter - cepstra) > np.abs(limit))


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
