"""The schemes of several machines: which one holds for a node's constants, and which for a tensor."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from intsim.errors import IntsimError
from intsim.graph import Graph, Node
from intsim.quantize.options import Choice, Options, meet, settled
from intsim.target import Scheme


class Schemes(Struct, frozen=True, kw_only=True):
    """What is asked, the scheme that holds, and those of the `nodes` (by name) that run on machines of their own."""

    asked: Options
    scheme: Scheme
    nodes: Mapping[str, Scheme] = {}


def of_node(schemes: Schemes, node: Node) -> Scheme:
    """The scheme of the machine that the node runs on."""
    return schemes.nodes.get(node.name, schemes.scheme)


def together(schemes: Schemes, nodes: Iterable[Node]) -> tuple[Scheme, Choice]:
    """What all machines of these nodes take, and what that comes to for what is asked."""
    found = list(dict.fromkeys(of_node(schemes, node) for node in nodes)) or [schemes.scheme]
    try:
        scheme = meet(found)
        return scheme, settled(schemes.asked, scheme)
    except IntsimError as error:
        if len(found) == 1:
            raise
        mend = f"{error.mend}; or let them run on one machine" if error.mend else "let them run on one machine"
        where = " and ".join(filter(None, (_names(nodes), error.where)))
        raise IntsimError(error.what, where=where, mend=mend) from None


def _names(nodes: Iterable[Node]) -> str:
    return ", ".join(node.name for node in nodes)


def touching(graph: Graph, tensors: Iterable[str]) -> list[Node]:
    """The nodes that make or read any of these tensors."""
    wanted = {*tensors}
    return [node for node in graph.nodes if wanted & {*node.inputs, *node.outputs}]
