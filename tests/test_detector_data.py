"""The YOLO form, letterboxes and generated data; every malformed form is one clear line."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from snnverify.detector.dataset import label_path, read_image, read_labels, read_split
from snnverify.detector.generated import KINDS, write_rectangles
from snnverify.detector.letterbox import boxes_in_square, check_size, letterbox, placed
from snnverify.detector.model import Detector, described
from snnverify.detector.samples import batches, first, open_samples
from snnverify.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    return write_rectangles(tmp_path / "shapes", 3, 2).parent


def rewritten(folder, text):
    file = folder / "data.yaml"
    file.write_text(text)
    return file


NAMES = "names: [a, b, c, d]\n"


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("path: .\nval: images/val\n", ConfigError, "names is missing"),
        ("val: images/val\nname: [a]\n", ConfigError, "did you mean 'name'"),
        (NAMES + "val: images/val\nnc: 3\n", ConfigError, "nc = 3, but there are 4 names"),
        (NAMES + "val: images/val\nnc: true\n", ConfigError, "nc = True"),
        ("names: {0: a, 2: b}\nval: images/val\n", ConfigError, "keys 0, 2; number them 0 ... 1"),
        ("names: {a: 0}\nval: images/val\n", ConfigError, "keys a"),
        ("names: []\nval: images/val\n", ConfigError, "names = \\[\\]"),
        ("names: a\nval: images/val\n", ConfigError, "names = 'a'"),
        (NAMES + "train: images/train\n", ConfigError, "it has no val:; it has train"),
        (NAMES, ConfigError, "it has no val:; add one"),
        (NAMES + "val: images/none\n", DataError, "there is no folder and no .txt list"),
        (NAMES + f"val: {'a' * 3000}\n", DataError, "there is no folder and no .txt list"),
        (NAMES + f"path: {'a' * 3000}\nval: x\n", ConfigError, "there is no folder"),
        (NAMES + "val: 3\n", ConfigError, "val = 3"),
        (NAMES + "val: labels/val\n", DataError, "no image there"),
        (NAMES + "path: nowhere\nval: images/val\n", ConfigError, "there is no folder .*nowhere nor nowhere"),
        (NAMES + "path: nowhere\nval: x\ndownload: rm -rf /\n", ConfigError, "download: rm -rf / was not executed"),
        (NAMES + "path: [a]\nval: x\n", ConfigError, "path = \\['a'\\]"),
        ("[1, 2]\n", DataError, "holds a list"),
        ("", DataError, "holds a NoneType"),
        ("names: [\n", DataError, "not YAML"),
        ("names: !!python/object/apply:os.system [ls]\n", DataError, "without running code"),
    ],
)  # fmt: skip
def test_malformed_files_are_one_line(folder, text, error, said):
    with pytest.raises(error, match=said) as caught:
        read_split(rewritten(folder, text))
    assert "\n" not in str(caught.value)
    assert "data.yaml" in str(caught.value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_split(tmp_path / "data.yaml")
    with pytest.raises(DataError, match="a folder"):
        read_split(tmp_path)
    (tmp_path / "data.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not YAML"):
        read_split(tmp_path / "data.yaml")


def test_download_is_told_and_never_run(folder):
    mark = folder / "ran"
    text = f"{NAMES}val: images/val\ndownload: |\n  open({str(mark)!r}, 'w')\n"
    assert read_split(rewritten(folder, text)).notes == (
        f"download: open({str(mark)!r}, 'w')"[:70] + " ... not executed; fetch the data yourself",
    )
    assert not mark.exists()


def test_names_lists_and_maps_and_list_files_are_the_same_split(folder):
    plain = read_split(folder / "data.yaml")
    paths = [p.relative_to(folder) for p in plain.images]
    (folder / "val.txt").write_text("".join(f"{p}\n" for p in paths))
    (folder / "images" / "near.txt").write_text("\n".join(f"./val/{p.name}" for p in paths))
    names = "names: {" + ", ".join(f"{i}: {n}" for i, n in enumerate(KINDS)) + "}\n"
    for val in ("val.txt", "images/near.txt", "[images/val]", "[val.txt, images/val]"):
        split = read_split(rewritten(folder, f"{names}val: {val}\n"))
        assert split.images == plain.images
        assert split.digest == plain.digest
    assert str(plain) == f"{folder / 'data.yaml'}: root {folder}, split val: 2 images, 4 classes"


def test_list_files_name_their_bad_line(folder):
    (folder / "val.txt").write_text("images/val/0000.png\n\nimages/val/nine.png\n")
    with pytest.raises(DataError, match=r"val.txt:3: 'images/val/nine.png'"):
        read_split(rewritten(folder, NAMES + "val: val.txt\n"))
    (folder / "val.txt").write_bytes(b"\xff\x00")
    with pytest.raises(DataError, match="no text"):
        read_split(folder / "data.yaml")


def test_split_is_one_of_three(folder):
    with pytest.raises(ConfigError, match="one of train, val, test"):
        read_split(folder / "data.yaml", "valid")


def test_labels_lie_beside_the_last_folder_of_images(tmp_path):
    assert label_path(tmp_path / "images" / "a" / "images" / "b.c.png") == tmp_path / "images/a/labels/b.c.txt"
    assert label_path(tmp_path / "images.png") == tmp_path / "images.txt"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.1", "4 numbers"),
        ("0 0.5 0.5 0.1 0.1 0.2", "6 numbers"),
        ("a 0.5 0.5 0.1 0.1", "holds no numbers"),
        ("4 0.5 0.5 0.1 0.1", "class 4; there are 4"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5"),
        ("0 1.5 0.5 0.1 0.1", "1.5 lies outside"),
        ("0 nan 0.5 0.1 0.1", "nan lies outside"),
        ("0 0.5 0.5 0 0.1", "size 0 x 0.1"),
        ("1 0.2 0.2 0.2 0.4 0.2 0.6", "size 0 x"),
    ],
)
def test_malformed_labels_name_their_line(tmp_path, line, said):
    file = tmp_path / "a.txt"
    file.write_text(f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    with pytest.raises(DataError, match=f"a.txt:3: .*{said}"):
        read_labels(file, "abcd")


def test_outlines_become_their_box(tmp_path):
    (tmp_path / "a.txt").write_text("2 0.25 0.5 0.75 0.25 0.5 1.0\n")
    assert read_labels(tmp_path / "a.txt", "abc").tolist() == [[2, 0.5, 0.625, 0.5, 0.75]]
    assert read_labels(tmp_path / "none.txt", "abc").shape == (0, 5)


def test_images_without_labels_are_told_and_none_at_all_is_refused(folder):
    (folder / "labels" / "val" / "0000.txt").unlink()
    assert "1 of 2 images have no label file" in read_split(folder / "data.yaml").notes[0]
    (folder / "labels" / "val" / "0001.txt").unlink()
    with pytest.raises(DataError, match=r"no image of val has a label file; its own would be .*labels/val/0000.txt"):
        read_split(folder / "data.yaml")


def test_images_that_cannot_be_read(tmp_path):
    for name, content in (("empty", b""), ("text", b"hello"), ("cut", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")):
        (tmp_path / f"{name}.png").write_bytes(content)
        with pytest.raises(DataError, match=f"{name}.png: not an image"):
            read_image(tmp_path / f"{name}.png")
    Image.fromarray(np.full((2, 2), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match="8 bits a channel"):
        read_image(tmp_path / "deep.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="channels = 2"):
        read_image(tmp_path / "a.png", 2)


def test_images_are_turned_as_their_exif_data_say(tmp_path):
    picture = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture.save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png", 1).tolist() == [[[5, 4, 3], [2, 1, 0]]]


def test_size_is_a_multiple_of_the_stride():
    assert check_size(64, 32) == 64
    for size, said in ((100, "96 or 128"), (31, "take 32"), (0, "take 32"), (-5, "take 32"), (641, "640 or 672")):
        with pytest.raises(ConfigError, match=said):
            check_size(size, 32)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(96, 128, 64), (3, 500, 32), (1, 1, 64), (37, 37, 96), (33, 64, 32)]
)
def test_letterbox_keeps_form_and_boxes(height, width, size):
    top, left, h, w = placed(height, width, size)
    longer = max(height, width)
    for n, scaled in ((height, h), (width, w)):  # to half a pixel, but for what would vanish
        assert scaled == 1 or abs(Fraction(n * size, longer) - scaled) <= Fraction(1, 2)
    assert 0 <= size - h - 2 * top <= 1
    assert 0 <= size - w - 2 * left <= 1
    x = letterbox(np.full((3, height, width), 255, np.uint8), size)
    assert x.dtype == np.float32
    inside = np.zeros((size, size), bool)
    inside[top : top + h, left : left + w] = True
    assert np.all(x[:, inside] == 1)
    assert np.all(x[:, ~inside] == np.float32(114) / np.float32(255))
    whole = boxes_in_square(np.array([[1, 0.5, 0.5, 1, 1]]), height, width, size)
    assert whole.tolist() == [[1, left, top, left + w, top + h]]


def test_letterbox_leaves_an_image_of_that_size_alone():
    x = np.random.default_rng(0).integers(0, 256, (1, 32, 32)).astype(np.uint8)
    assert np.array_equal(letterbox(x, 32), x.astype(np.float32) / np.float32(255))


def test_generated_rectangles_are_where_the_labels_say(tmp_path):
    a, b = (write_rectangles(tmp_path / name, 4, 3, seed=5).parent for name in "ab")
    split, again = (read_split(folder / "data.yaml", "train") for folder in (a, b))
    assert split.digest == again.digest
    assert split.digest != read_split(write_rectangles(tmp_path / "c", 4, 3, seed=6), "train").digest
    for path in split.images:
        pixels = read_image(path).astype(int)
        grey = np.ptp(pixels, axis=0) == 0
        covered = np.zeros(grey.shape, bool)
        for kind, x, y, w, h in read_labels(label_path(path), split.names):
            rows = slice(*(round((y + s * h / 2) * 96) for s in (-1, 1)))
            columns = slice(*(round((x + s * w / 2) * 128) for s in (-1, 1)))
            colour = list(KINDS.values())[int(kind)][0]
            assert np.abs(pixels[:, rows, columns].mean((1, 2)) - colour).max() < 6
            covered[rows, columns] = True
        assert np.all(grey[~covered])
        assert grey[covered].mean() < 0.01


def test_samples_fit_the_net_and_come_in_batches(folder, tmp_path):
    net = Detector(described("resnet10"))
    samples = open_samples(str(folder / "data.yaml"), net, 64, "train")
    parts = list(batches(samples, batch=2))
    assert [x.shape for x, _ in parts] == [(2, 3, 64, 64), (1, 3, 64, 64)]
    assert sum(map(len, (boxes for _, ys in parts for boxes in ys))) == sum(
        len(read_labels(label_path(p), samples.split.names)) for p in samples.split.images
    )
    assert len(first(samples, 2)) == 2
    with pytest.raises(ConfigError, match="--img-size = 70: no multiple of the model's stride 32; take 64 or 96"):
        open_samples(str(folder / "data.yaml"), net, 70)
    with pytest.raises(DataError, match="4 names, but the net tells 80 classes apart"):
        open_samples(str(folder / "data.yaml"), Detector({**described("resnet10"), "nc": 80}), 64)
    digits = Detector(described("digits"))
    with pytest.raises(ConfigError, match="the net ends in no Detect"):
        open_samples(str(folder / "data.yaml"), digits)
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 8, 8), np.float32), y=np.arange(3))
    with pytest.raises(ConfigError, match="the net is a detector"):
        open_samples(str(tmp_path / "d.npz"), net)
    classes = open_samples(str(tmp_path / "d.npz"), digits)
    assert classes.read([0, 2])[0].shape == (2, 1, 8, 8)
    assert classes.notes == ("channel axis added",)
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 8), np.float32), y=np.arange(3))
    with pytest.raises(DataError, match="the net takes \\[1, H, W\\]"):
        open_samples(str(tmp_path / "d.npz"), digits)
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 8, 8), np.float32), y=np.arange(8, 11))
    with pytest.raises(DataError, match="labels are"):
        open_samples(str(tmp_path / "d.npz"), digits)
