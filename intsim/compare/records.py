"""What a comparison finds: layers, what differs in them, and why."""

from msgspec import Struct

from intsim.reference import Reference


class Change(Struct, frozen=True, kw_only=True):
    """One rule that differs: what stands there in the reference and in our machine, in words.

    `field`: its path in the Target, as `--set` takes it; "" for what is no field.
    """

    field: str
    rule: str
    reference: str
    ours: str


class Cause(Struct, frozen=True, kw_only=True):
    """A change, or two made together, that gives all of the reference's integers of a layer, on all images.

    `machine`: the machine of the catalogue, where all of its rules together are meant.
    """

    says: str
    changes: tuple[Change, ...]
    machine: str = ""


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a layer, fed from the reference's tensors, differs.

    `causes`: what explains all of it, each alone, the simplest first; where there are several, these images cannot
    tell them apart. Without one, `nearest` explains most: all but `unexplained` of the layer's `elements` that differ.
    """

    differ: int
    causes: tuple[Cause, ...] = ()
    nearest: Cause | None = None
    unexplained: int = 0
    says: str = ""


class Layer(Struct, frozen=True, kw_only=True):
    """One layer's integers against the reference's, over all images.

    `mismatches` and `max_difference` (in steps of the output) are counted with both sides run from the images;
    `single_mismatches` and `single_max_difference` with this layer fed from the reference's tensors, None where the
    reference has not all of its inputs. `differences` and `single_differences`: [ours - reference, how many] of those
    that are not 0, what lies beyond 32 steps counted at -32 and 32. `snr`, `single_snr`: 10 log10 of the reference's
    power over the difference's, in dB, None where there is no difference; `float_snr`: ours against the float network,
    None where none was given. `first`: the first layer that differs. `reference_op`: what computed the tensor there,
    where the runtime tells. `explained_by`: the rule in which the two differ, where one is known; `explanation`:
    everything that was found about it. `machine`: the one of ours that runs it.
    """

    name: str
    op: str
    tensor: str
    elements: int
    mismatches: int
    max_difference: int
    single_mismatches: int | None
    single_max_difference: int | None
    differences: tuple[tuple[int, int], ...] = ()
    single_differences: tuple[tuple[int, int], ...] = ()
    snr: float | None = None
    single_snr: float | None = None
    float_snr: float | None = None
    first: bool = False
    reference_op: str = ""
    explained_by: str | None = None
    explanation: Explanation | None = None
    machine: str = ""


class Comparison(Struct, frozen=True, kw_only=True):
    """What differs between a Program and a reference.

    `mismatches` of `elements` integers over all compared layers; `single_mismatches` likewise with each layer fed from
    the reference. `argmax_agreement`: the share of images on which every output's first largest value stands in the
    same place, None where no output was compared. `not_compared`: layers that the reference does not have.
    """

    network: str
    target: str
    images: int
    elements: int
    mismatches: int
    single_mismatches: int | None
    argmax_agreement: float | None
    reference: Reference
    layers: tuple[Layer, ...]
    not_compared: tuple[str, ...] = ()

    @property
    def max_difference(self) -> int:
        """The largest difference of any layer, in steps of its output."""
        return max((layer.max_difference for layer in self.layers), default=0)

    @property
    def first(self) -> Layer | None:
        """The first layer that differs."""
        return next((layer for layer in self.layers if layer.first), None)

    @property
    def parts(self) -> dict[str, tuple[int, int, int | None]]:
        """For each machine of ours: integers, how many differ, how many do with each layer fed from the reference."""
        found: dict[str, tuple[int, int, int | None]] = {}
        for layer in self.layers:
            elements, differ, alone = found.get(layer.machine, (0, 0, None))
            single = alone if layer.single_mismatches is None else (alone or 0) + layer.single_mismatches
            found[layer.machine] = (elements + layer.elements, differ + layer.mismatches, single)
        return found
