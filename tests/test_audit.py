"""The claim audit: verdicts derived by hand, errors that name key and value, exit codes."""

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest

from snnverify.cli import main
from snnverify.errors import ConfigError, DataError
from snnverify.hardware.audit import audit, exit_code
from snnverify.hardware.claims import parse_claims, read_claims
from snnverify.hardware.intervals import UNITS, printed
from snnverify.schema import breaches

ROOT = Path(__file__).parents[1]
WALKTHROUGH = ROOT / "examples/claims/walkthrough.toml"

# By hand, from the printed numbers alone. What is in no list is unverifiable: nothing in the report gives it.
HOLDS = {
    "inputs": 40 * 101 == 4040,
    "layers": len((512, 256, 128)) == 3,  # without the read-out
    "neurons": 512 + 256 + 128 + 35 == 931,
    "average rates": 5 <= 8.7 <= 9.1 <= 11.2 <= 20,
    "maximum rates": 100 >= 48.3 >= 11.2 and 31.5 >= 8.7 and 29.8 >= 9.1,
    "SNN accuracy": 78.1 >= 77.3,
    "gate": 803 - 30 == 773,  # tenths of a point; of 80.3 itself it is 0.97 * 80.3 = 77.9
    "INT4 accuracy": 77.4 >= 77.3,
    "INT4 to SNN": 774 - 781 == -7,
    "INT4 to ANN": 774 - 803 == -29,
    "dead share": round(100 * 47 / 931, 1) == 5.0,
    "overall rate": round((512 * 11.2 + 256 * 8.7 + 128 * 9.1) / 896) == 10,
    "hardware variation": 774 - 771 == 3,
    "measured above estimated": round(100 * (0.88 / 0.81 - 1), 1) == 8.6,
    "P50": 312 <= 580,
    "P99": 580 >= 312,
    "native accuracy gain": 793 - 771 == 22,
    "native rate": 7.1 <= 10.2,
    "converted rate": round((512 * 11.2 + 256 * 8.7 + 128 * 9.1) / 896, 1) == 10.2,
    "native energy saving": round(100 * (1 - 0.58 / 0.88)) == 34,
}
BROKEN = {
    "neurons of those layers": 512 + 256 + 128 != 931,
    "weight entries": 339_968 not in (hidden := 512 * 256 + 256 * 128 + 128 * 35, 4040 * 512 + hidden),
    "synapse memory": 168 not in (round(339_968 / 2 / 1000), round(339_968 / 2 / 1024)),  # 170 and 166
    "operations": 0.095 * hidden * 20 > 312_500,  # the least that 10 % can mean, without one spike of the input
    "estimated energy": round(312_000 * 0.8 / 10**6, 2) == 0.25,  # uJ
    "hardware within the gate": 77.15 < 77.25,
}


def test_the_walkthrough_is_judged_as_by_hand():
    assert all(HOLDS.values())
    assert all(BROKEN.values())
    found = {f.name: f.verdict for f in audit(read_claims(WALKTHROUGH))}
    assert {n for n, v in found.items() if v == "inconsistent"} == set(BROKEN)
    assert {n for n, v in found.items() if v == "consistent"} == set(HOLDS)


@pytest.mark.parametrize(("name", "follows"), [
    ("neurons of those layers", "896"), ("weight entries", "2,236,800 or 168,320"), ("cores", "at least 7"),
    ("estimated energy", "0.2492 to 0.2500 uJ"),
])  # fmt: skip
def test_the_number_that_follows_is_told(name, follows):
    assert next(f for f in audit(read_claims(WALKTHROUGH)) if f.name == name).follows == follows


# Of each published text: what contradicts it, and what holds, by hand; what is in neither is unverifiable.
OTHERS = {
    "mnist_tutorial": (
        {"batches of the test": 10_000 / 100 != 200, "entries of the converted network": 4 + 4 + 4 + 3 != 16,
         "batch normalisation absorbed": 1 / (1 + 1e-3) != 1, "time of a simulation": 13 > 11.5},
        {"batches of training": 60_000 / 100 == 600, "features": 1 * 1 * 32 == 32,
         "sizes of the feature maps": (28 - 2) // 2 == 13 and (13 - 2) // 2 == 5 and (5 - 2) // 2 == 1,
         "scalers undo each other": round(0.226026 * 4.424271, 5) == 1 == round(0.056421 * 17.723749, 4)},
    ),
    "sc_neurocore": (
        {},
        {"accuracy": 85 <= 88 <= 90, "precision over length": 9 / 5 < 2 < 11 / 3,  # 10 and 4 points, each within one
         "speed-ups of phase 12": round(289.305 / 6.893, 1) == 42 and round(12911.296 / 25.196, 1) == 512.4,
         "speed-ups of phase 11": round(106.451 / 23.925, 1) == 4.4, "LIF above its target": 512.4 > 400,
         "speed-ups of phase 10": round(16.918 / 0.133, 1) in (127.1, 127.2)},  # 0.1332 gives the 127.0 that is printed
    ),
    "lava_tutorials": (
        {},
        {"widths": (200 - 3) // 2 + 1 == 99 and 22 - 3 + 1 == 20, "heights": (7 + 2 - 3) // 2 + 1 == 4,
         "axons into the first dense layer": 20 * 2 * 64 == 2560, "cores, LIF": 61 + 13 == 74,
         "units that fit into the convolutions' cores": 25 * 3072 >= 99 * 32 * 24 and 3 * 2688 == 24 * 7 * 48,
         "units of a core of the first dense layer": 100 // 12 == 8, "cores, SDNN": 3 + 12 + 2 + 3 + 3 + 13 + 25 == 61,
         "sizes of the feature maps": 28 // 2 == 14 and 14 // 2 == 7, "greatest accuracy so far": 0.9860 >= 0.9855,
         "losses": min(1.7607, 1.4743, 1.5243, 1.4760) >= math.log(1 + 9 / math.e)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_texts_are_judged_as_by_hand(name):
    broken, holds = OTHERS[name]
    assert all(broken.values())
    assert all(holds.values())
    found = audit(read_claims(ROOT / f"examples/claims/{name}.toml"))
    verdicts = {f.name: f.verdict for f in found}
    assert {n for n, v in verdicts.items() if v == "inconsistent"} == set(broken)
    assert {n for n, v in verdicts.items() if v == "consistent"} == set(holds)
    assert exit_code(found) == (1 if broken else 3)


def test_of_a_list_every_entry_that_follows_is_told():
    found = {f.name: f.follows for f in audit(read_claims(ROOT / "examples/claims/lava_tutorials.toml"))}
    assert found["sizes of the feature maps"] == "28 / 14 / 14 / 7"
    assert found["losses"].count("at least") == 1  # one bound for all of them is told once


def test_the_command_writes_what_it_prints(tmp_path, capsys):
    assert (
        main(["audit", str(WALKTHROUGH), "--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]) == 1
    )
    printed_lines = capsys.readouterr().out.splitlines()
    assert printed_lines[-1] == f"{len(HOLDS)} consistent, {len(BROKEN)} inconsistent, 13 unverifiable"
    assert max(map(len, printed_lines)) <= 120
    tree = json.loads((tmp_path / "a.json").read_text())
    assert not list(breaches(tree, json.loads((ROOT / "snnverify/hardware/audit.schema.json").read_text()), "a"))
    assert (tmp_path / "a.md").read_text() in (ROOT / "docs/audit.md").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "examples/claims").glob("*.toml")), ids=lambda p: p.stem)
def test_the_page_holds_every_example(path, tmp_path):
    main(["audit", str(path), "--markdown", str(tmp_path / "a.md")])
    assert (tmp_path / "a.md").read_text() in (ROOT / "docs/audit.md").read_text()


def report(**claim):
    given = [{"name": "a", "value": "10.0", "unit": "%"}, {"name": "b", "value": "9.4", "unit": "%"},
             {"name": "n", "value": "1000"}, {"name": "bits", "value": "8", "unit": "bit", "exact": True}]  # fmt: skip
    return parse_claims(
        {"title": "t", "source": "s", "given": given, "claim": [{"name": "c", "quote": "q", **claim}]}, "f"
    )


DIFFERENCE = [{"relation": "difference", "of": {"a": "a", "b": "b"}}]
MEMORY = [{"relation": "memory", "of": {"weights": "n", "bits": "bits"}}]


@pytest.mark.parametrize(("claim", "code"), [
    ({"value": "0.6", "unit": "points", "check": DIFFERENCE}, 0),
    ({"value": "0.7", "unit": "points", "check": DIFFERENCE}, 0),  # 10.04 - 9.36 = 0.68 prints as 0.7
    ({"value": "0.76", "unit": "points", "check": DIFFERENCE}, 1),  # over 10.05 - 9.35 = 0.70
    ({"value": "1.000", "unit": "kB", "check": MEMORY}, 0),
    ({"value": "0.977", "unit": "KiB", "check": MEMORY}, 0),  # 1000 / 1024 = 0.9766
    ({"value": "0.977", "unit": "KB", "check": MEMORY}, 0),
    ({"value": "0.977", "unit": "kB", "check": MEMORY}, 1),
    ({"value": "2", "missing": "what is needed"}, 3),
    ({"value": "0.6", "unit": "points", "check": [{"relation": "difference", "of": {"a": "a", "b": "z"}}]}, 3),
])  # fmt: skip
def test_rounding_and_units_decide_the_exit_code(claim, code):
    assert exit_code(audit(report(**claim))) == code


def test_an_assumption_makes_nothing_inconsistent():
    found = audit(report(value="9", unit="points", check=[{**DIFFERENCE[0], "assumes": "both are of one set"}]))
    assert found[0].verdict == "unverifiable"
    assert "both are of one set" in found[0].reason


@pytest.mark.parametrize(("claim", "said"), [
    ({"value": "ten", "missing": "m"}, "value = 'ten'"),
    ({"value": "1", "unit": "kilo", "missing": "m"}, "unit = 'kilo'"),
    ({"value": "1", "check": [{"relation": "diference", "of": {}}]}, "did you mean 'difference'"),
    ({"value": "1", "unit": "uJ", "check": DIFFERENCE}, "is of energy"),
    ({"value": "1", "unit": "%", "check": [{"relation": "difference", "of": {"a": "a"}}]}, "takes a, b"),
    ({"value": "1"}, "missing ="),
    ({"value": "1", "missng": "m"}, "missng"),
    ({"check": DIFFERENCE}, "value is missing"),
    ({"value": "1", "exact": 1, "missing": "m"}, "exact = 1"),
    ({"value": [], "missing": "m"}, "value = []"),
    ({"value": 3, "missing": "m"}, "value = 3"),
])  # fmt: skip
def test_a_bad_claim_is_named(claim, said):
    with pytest.raises(ConfigError, match=said.replace("[", r"\[")):
        report(**claim)


def test_a_bad_file_is_named(tmp_path, capsys):
    bad = tmp_path / "bad.toml"
    bad.write_text("title = ")
    with pytest.raises(DataError, match="not TOML"):
        read_claims(bad)
    assert main(["audit", str(bad)]) == 2
    assert main(["audit", str(tmp_path / "none.toml")]) == 2
    assert main(["audit", str(tmp_path)]) == 2
    assert "none.toml: no such file" in capsys.readouterr().err


def test_printed_numbers_are_intervals():
    assert printed("0.81", "", "x")[0].lo == Fraction(81, 100)  # counts and bare numbers are what they are
    seen = printed("0.81", "ratio", "x")[0]
    assert (seen.lo, seen.hi) == (Fraction(805, 1000), Fraction(815, 1000))
    assert [i.lo for i in printed("2", "MB", "x", exact=True)] == [16 * 10**6, 2**24]
    assert printed("312,000", "", "x", rounded_to="1000")[0].hi == 312_500
    assert all(f > 0 for _, factors in UNITS.values() for f in factors)
