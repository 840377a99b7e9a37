"""A file's nodes with names of their own, in an order in which they can be run."""

import heapq
from collections.abc import Sequence

from onnx import NodeProto

from intsim.errors import IntsimError
from intsim.onnx_io.protobuf import reads


def named(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """The nodes, each with a name of its own: the file's, or `operator_index` where that is empty."""
    used: set[str] = set()
    result = []
    for index, node in enumerate(nodes):
        copy = NodeProto()
        copy.CopyFrom(node)
        base = node.name or f"{node.op_type.lower()}_{index}"
        count, copy.name = 1, base
        while copy.name in used:
            count += 1
            copy.name = f"{base}_{count}"
        used.add(copy.name)
        result.append(copy)
    return result


def ordered(nodes: Sequence[NodeProto], known: set[str]) -> list[NodeProto]:
    """The nodes in an order in which they can be run, the file's own wherever that is one."""
    computed = set(known)
    for node in nodes:
        for output in filter(None, node.output):
            if output in computed:
                raise IntsimError(f'computes "{output}", a name that is taken', where=node.name)
            computed.add(output)
    readers: dict[str, list[int]] = {}
    missing = []
    for index, node in enumerate(nodes):
        needs = set(reads(node)) - known
        for tensor_name in needs:
            if tensor_name not in computed:
                raise IntsimError(f'reads "{tensor_name}", which nothing computes', where=node.name)
            readers.setdefault(tensor_name, []).append(index)
        missing.append(len(needs))
    ready = [index for index, count in enumerate(missing) if not count]
    order = []
    while ready:
        order.append(heapq.heappop(ready))
        for output in filter(None, nodes[order[-1]].output):
            for index in readers.get(output, ()):
                missing[index] -= 1
                if not missing[index]:
                    heapq.heappush(ready, index)
    if len(order) < len(nodes):
        circle = [nodes[index].name for index, count in enumerate(missing) if count]
        raise IntsimError(f"the nodes {', '.join(circle[:4])} wait for each other: they form a circle")
    return [nodes[index] for index in order]
