"""The diagram of other people's modules, beside torch.fx, which reads the code where the diagram watches the run."""

from collections import Counter

import numpy as np
import pytest
from torch import fx, nn

from snnverify.detector.describe import describe
from snnverify.detector.probes import watched
from snnverify.zoo.corpus import EQUAL, randomise


def contracted(edges, kept):
    """Pairs of kept nodes of which the one reaches the other through others alone."""
    after = {}
    for a, b in edges:
        after.setdefault(a, set()).add(b)
    found = set()
    for start in kept:
        waiting, seen = [*after.get(start, ())], set()
        while waiting:
            node = waiting.pop()
            if node in kept:
                found.add((start, node))
            elif node not in seen:
                seen.add(node)
                waiting += after.get(node, ())
    return found


def by_fx(model):
    """Calls of torch's own modules, as fx sees them, and which feeds which; None where fx cannot read the code."""
    try:
        graph = fx.symbolic_trace(model).graph
    except Exception:
        return None
    numbers, names = Counter(), {}
    for node in graph.nodes:
        names[node] = node.name
        if node.op == "call_module":
            numbers[node.target] += 1
            names[node] = node.target + (f":{numbers[node.target]}" if numbers[node.target] > 1 else "")
        elif node.op == "placeholder":
            names[node] = "image"
        elif node.op == "output":
            names[node] = "output"
    kept = {names[n] for n in graph.nodes if n.op in ("call_module", "placeholder", "output")}
    return {(names[a], names[n]) for n in graph.nodes for a in n.all_input_nodes}, kept


@pytest.mark.parametrize("entry", EQUAL, ids=lambda e: e.name.replace(" ", "-"))
def test_the_diagram_is_that_of_fx_and_of_the_hooks(entry):
    model = randomise(entry.factory()).double().eval()
    x = np.random.default_rng(0).uniform(size=(2, *entry.input_shape))
    d = describe(model, x)
    calls = Counter(s.path for s in watched(model, x))
    assert {m.path: m.calls for m in d.modules if m.calls} == dict(calls)
    read = by_fx(model)
    if read is None:
        assert any(b == "output" for _, b in d.edges)
        return
    edges, kept = read
    if entry.name == "in-place skip":  # fx does not know that relu writes into what the skip takes after it
        edges = {(a, b) for a, b in edges if (a, b[:3]) != ("bn", "add")} | {
            ("relu", b) for _, b in edges if b[:3] == "add"
        }
    # fx takes a parametrised module for a leaf; in the run it is a container, whose own operations have its name first
    drawn = {tuple(n.split("/")[0] if n.split("/")[0] in kept else n for n in e) for e in d.edges}
    assert contracted(drawn, kept) == contracted(edges, kept)


def test_fx_reads_most_of_the_corpus():
    """Else the comparison above would say little."""
    assert sum(by_fx(e.factory()) is not None for e in EQUAL) > 0.8 * len(EQUAL)
    assert by_fx(nn.Sequential(nn.ReLU()))[0] == {("image", "0"), ("0", "output")}
    assert contracted({("a", "b"), ("b", "c"), ("a", "d")}, {"a", "c", "d"}) == {("a", "c"), ("a", "d")}
