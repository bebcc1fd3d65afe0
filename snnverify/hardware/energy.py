"""Energy: exact counts times a table that names its source, its grade of evidence and its scope; a range, never one figure.

Sums are exact fractions of picojoules: the laws of `checks.energy` hold without rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import tomllib

from ..errors import ConfigError
from ..objects import nearest
from .counts import OPERATIONS

SHIPPED = Path(__file__).with_name("energy_tables.toml")
GRADES = ("measured", "simulated", "estimate", "tabulated", "derived")
GENERIC = ("cmos45-fp32", "cmos45-fp32-cache")  # beside any single table: no estimate goes without a second model
WAYS = ("hop_ew", "hop_ns")
MOST = 1e18  # pJ, a megajoule
_TEXTS = ("name", "platform", "grade", "source", "scope")
_KEYS = (*_TEXTS, "ann", "multiplier", "pJ")


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, pJ; exact."""

    low: Fraction
    high: Fraction

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)


NOTHING = Range(Fraction(0), Fraction(0))


@dataclass(frozen=True)
class Table:
    """Energy per operation on one platform.

    Parameters
    ----------
    name, platform, grade, source, scope, version : str
        `grade` is one of `GRADES`; `scope` says what is in the figures, and what is not.
    pJ : mapping of operation to Range
        Of `counts.OPERATIONS`; an operation that is missing has no price there. Hops have all three prices or none.
    ann : bool
        Whether ANNs of MACs run on it, so that it has a baseline.
    multiplier : Fraction or None
        What of an 8-bit MAC is its multiplier, pJ.
    """

    name: str
    platform: str
    grade: str
    source: str
    scope: str
    version: str
    pJ: Mapping[str, Range]  # noqa: N815 - the unit
    ann: bool = False
    multiplier: Fraction | None = None


def estimate(counts: Mapping[str, Any], table: Table) -> Range:
    """``E = sum_k n_k e_k`` over the operations that the table prices, pJ; see `unpriced` for the others."""
    priced = [(Fraction(counts[k]), e) for k, e in table.pJ.items()]
    return Range(sum((n * e.low for n, e in priced), Fraction(0)), sum((n * e.high for n, e in priced), Fraction(0)))


def unpriced(counts: Mapping[str, Any], table: Table) -> dict[str, int]:
    """Operations that occur and that the table has no price for; hops among them, unless the spike includes them."""
    return {k: int(n) for k, n in counts.items() if n and k not in table.pJ}


def quantised_mac(table: Table, bits: int) -> Range:
    """Energy of a MAC of `bits`-bit values on a table of 8-bit ones, pJ.

    The multiplier grows as the product of its operands' widths (Horowitz's 8 and 32 bits: 0.2 and 3.1 pJ, a factor 15.5
    for 16 times the product): weights of 8 bits at one end of the range, weights of `bits` bits at the other. The
    accumulator stays.
    """
    if table.multiplier is None:
        raise ConfigError(f"table {table.name!r}: it does not tell what of a MAC is its multiplier; use cmos45-int8")
    rest = [e - table.multiplier for e in (table.pJ["mac"].low, table.pJ["mac"].high)]
    ends = sorted(table.multiplier * Fraction(bits, 8) ** power for power in (1, 2))
    return Range(rest[0] + ends[0], rest[1] + ends[1])


def equal_bits(steps: int) -> int:
    """``ceil(log2(T + 1))``: bits of an ANN that tells as many values apart as T steps do (Yan et al., arXiv:2409.08290)."""
    return steps.bit_length()


def break_even(ann: Fraction, still: Fraction, per_rate: Fraction) -> Fraction | None:
    """Mean spikes per neuron and step at which ``still + r per_rate = ann``; None where no rate >= 0 does.

    Parameters
    ----------
    ann, still, per_rate : Fraction
        Energy of the ANN; what the SNN costs at rate 0 (updates, analog input); what rates of 1 everywhere add, pJ.
    """
    return (ann - still) / per_rate if per_rate > 0 and ann >= still else None


def tables(names: Sequence[str] = (), file: str | Path | None = None) -> tuple[Table, ...]:
    """Tables of these names (all without one): the shipped ones and those of the user's file, which come first.

    Raises
    ------
    ConfigError
        A platform without a source; an unknown name or key (names the nearest); a file that is no table.
    """
    shipped, refused = read(SHIPPED), _document(SHIPPED)["refused"]
    own = read(file) if file is not None else ()
    for taken in (t.name for t in own if t.name in {s.name for s in shipped}):
        raise ConfigError(
            f"{file}: name = {taken!r}: a shipped table has that name; give yours another, so that none is mistaken"
        )
    known = {t.name: t for t in (*own, *shipped)}
    for name in names:
        plain = "".join(ch for ch in name.lower() if ch.isalnum())
        why = next((w for k, w in refused.items() if plain.startswith((k, "akd" if k == "akida" else k))), None)
        if name not in known and why:
            raise ConfigError(f"table = {name!r}: {why}; bring figures of your own with --energy-table FILE")
        if name not in known:
            raise ConfigError(f"table = {name!r}: no such table{nearest(name, known)}")
    chosen = names or [t.name for t in own] or list(known)
    more = [n for n in GENERIC if n not in chosen] if len(chosen) < 2 else []
    return tuple(known[n] for n in dict.fromkeys([*chosen, *more]))


def read(file: str | Path) -> tuple[Table, ...]:
    """Tables of a TOML file with ``version = "..."`` and one or more ``[[table]]``; see the shipped one."""
    document = _document(file)
    version = document.get("version")
    _known(document, ("version", "table", "refused"), f"{file}:")
    if not isinstance(version, str) or not version:
        raise ConfigError(f'{file}: version = {version!r}; write version = "1", so that an estimate can name it')
    given = document.get("table")
    if not isinstance(given, list) or not given:
        raise ConfigError(f"{file}: there is no [[table]]; see the shipped {SHIPPED.name} for one")
    found = tuple(_table(entry, f"{file}: table {i + 1}:", version) for i, entry in enumerate(given))
    names = [t.name for t in found]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ConfigError(
                f"{file}: table {i + 1}: name = {name!r}: table {names.index(name) + 1} has it; give each its own"
            )
    return found


def _exact(text: str) -> Fraction | str:
    """A figure as it is written, exactly; inf and nan stay words, which no price is."""
    return text if text.lstrip("+-") in ("inf", "nan") else Fraction(text)


def _document(file: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(file).read_text("utf-8"), parse_float=_exact)
    except FileNotFoundError:
        raise ConfigError(f"energy table {file}: no such file; give the path of a TOML file") from None
    except (OSError, ValueError, ArithmeticError) as e:
        raise ConfigError(f"energy table {file}: cannot be read ({' '.join(str(e).split())}); mend the file") from e


def _known(given: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in given:
        if key not in keys:
            raise ConfigError(f"{where} {key} is not a key of an energy table{nearest(key, keys)}")


def _table(entry: Any, where: str, version: str) -> Table:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} write it as [[table]]")
    _known(entry, _KEYS, where)
    for key in _TEXTS:
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise ConfigError(f"{where} {key} = {entry.get(key)!r}: a text; a figure without it is no evidence")
    if entry["grade"] not in GRADES:
        raise ConfigError(f"{where} grade = {entry['grade']!r}: one of {', '.join(GRADES)}")
    if not isinstance(entry.get("ann", False), bool):
        raise ConfigError(f"{where} ann = {entry['ann']!r}: true or false")
    found = prices(entry.get("pJ"), where)
    if entry.get("ann") and "mac" not in found:
        raise ConfigError(f"{where} ann = true, and pJ has no mac; an ANN is made of them")
    multiplier = _price(entry["multiplier"], f"{where} multiplier").low if "multiplier" in entry else None
    if multiplier is not None and ("mac" not in found or multiplier > found["mac"].low):
        raise ConfigError(f"{where} multiplier = {float(multiplier):g}: a part of pJ.mac, so at most as much")
    texts = {key: " ".join(entry[key].split()) for key in _TEXTS}
    return Table(**texts, version=version, pJ=found, ann=entry.get("ann", False), multiplier=multiplier)


def prices(given: Any, where: str = "") -> dict[str, Range]:
    """Prices of a table's ``pJ``: those of hops E-W and N-S, one of either, which has their range; or one for all three."""
    if not isinstance(given, dict) or not given:
        raise ConfigError(f"{where} pJ = {given!r}: a table of operations, such as pJ = {{ synop = 1.0 }}")
    _known(given, OPERATIONS, f"{where} pJ:")
    found = {key: _price(value, f"{where} pJ.{key}") for key, value in given.items()}
    told = [k for k in WAYS if k in found]
    if told and ("hop" in found or len(told) < len(WAYS)):
        raise ConfigError(f"{where} pJ.{told[0]}: give {' and '.join(WAYS)} together, or hop alone for both")
    if told:
        ends = [found[k] for k in WAYS]
        found["hop"] = Range(min(e.low for e in ends), max(e.high for e in ends))
    elif "hop" in found:
        found |= dict.fromkeys(WAYS, found["hop"])
    return found


def _price(value: Any, where: str) -> Range:
    ends = value if isinstance(value, list) else [value, value]
    if len(ends) != 2 or any(isinstance(e, bool) or not isinstance(e, (int, Fraction)) for e in ends):
        raise ConfigError(f"{where} = {value!r}: a number of pJ >= 0, or [lowest, highest]")
    low, high = map(Fraction, ends)
    if max(map(abs, (low, high))) > MOST:
        raise ConfigError(f"{where}: more than {MOST:g} pJ, which no operation costs; a number of pJ >= 0")
    if not 0 <= low <= high:
        raise ConfigError(f"{where} = {[float(e) for e in ends]}: lowest to highest, none below 0")
    return Range(low, high)
