"""Which of an exported network's values are images, tokens, attention, features; needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rival_jax.models import graph_file
from rival_jax.models.aten import ELEMENTWISE, SOFTMAX
from rival_jax.models.lowering import Lowered

MOST_EXTRA = 16  # tokens before those of the grid
_IMAGES = ("convolution.default", "avg_pool2d.default")  # their results are channels first
_SAME = ("clone.default", "alias.default", "view.default", "squeeze.dims")


def described(
    torch: Any, lowered: Lowered, image_size: tuple[int, int], *, trunk: bool = False
) -> dict[str, Any]:
    """What `graph.json` holds, but its origin; the logits of a trunk are its features."""
    roles = _Roles(torch, lowered, image_size)
    attention = roles.attention()
    taps = {
        name: {"node": node, "layout": roles.layout(node)}
        for name, node in {**lowered.outputs, **attention}.items()
    }
    features = lowered.logits if trunk else roles.classifier_input()
    grids = roles.grids(lowered.outputs.values())
    named = "penultimate" if "features" in taps else "features"
    return {
        "version": graph_file.VERSION,
        "image_size": list(image_size),
        "tensors": lowered.facts,
        "nodes": lowered.nodes,
        "logits": lowered.logits,
        "taps": {**taps, named: {"node": features, "layout": "flat"}},
        "cam_tap": roles.cam_tap(taps, grids, features),
        "feature_tap": named,
        "attention_taps": list(attention) if roles.is_plain(attention.values(), grids) else [],
        "grids": grids,
    }


class _Roles:
    """Reads the roles of values from shapes, producers and gradients."""

    def __init__(self, torch: Any, lowered: Lowered, image_size: tuple[int, int]):
        self.torch, self.lowered, self.image_size = torch, lowered, image_size
        self.nodes, self.shapes = lowered.nodes, lowered.shapes
        seen = {
            (shape[2], shape[3])
            for i, node in enumerate(self.nodes)
            if node["op"] in _IMAGES and len(shape := self.shapes.get(i, ())) == 4
        }
        height, width = image_size  # cut into patches [1, 3, rows, side, columns, side]
        for shape in self.shapes.values():
            if len(shape) == 6 and (shape[2] * shape[3], shape[4] * shape[5]) == (height, width):
                seen.add((shape[2], shape[4]))
        self.sizes = self._halved({size for size in seen if self._fits(*size)})

    def _fits(self, rows: int, columns: int) -> bool:
        """Whether a grid has the image's proportions, up to rounding."""
        height, width = self.image_size
        return rows * columns > 1 and abs(rows * width - columns * height) <= max(height, width)

    def _halved(self, seen: set[tuple[int, int]]) -> list[tuple[int, int]]:
        """The sizes of convolutions' results, then those that merging patches makes of them."""
        found = sorted(seen, reverse=True)
        for rows, columns in found:  # grows
            half = (-(-rows // 2), -(-columns // 2))
            if half not in found and half[0] * half[1] > 1:
                found.append(half)
        return found

    def layout(self, node: int) -> str:
        """See `graph.LAYOUTS`."""
        shape = self.shapes[node]
        if len(shape) != 4 or shape[0] != 1 or self.nodes[node]["op"] in SOFTMAX:
            return "plain"
        first, last = shape[2:] in self.sizes, shape[1:3] in self.sizes
        if first and last:
            return self._produced(node)
        return "nchw" if first else "plain"

    def _produced(self, node: int) -> str:
        """The layout, by what computed a value of which all axes are alike."""
        while True:
            said = self.nodes[node]
            op, args = said["op"], said.get("args", [])
            if op in (*_IMAGES, "max_pool2d_with_indices.default", graph_file.INPUT):
                return "nchw"
            if op == "permute.default":
                return {3: "nchw", 1: "plain"}.get(args[1][1], "plain")
            earlier = [part["node"] for part in args if isinstance(part, dict) and "node" in part]
            alike = [
                n for n in earlier if self.shapes.get(n, self.shapes[node]) == self.shapes[node]
            ]
            if not alike or not (op in ELEMENTWISE or op in (*_SAME, "getitem")):
                return "plain"
            node = alike[0]
            if node not in self.shapes:  # a list of results: what computed it decides
                op = self.nodes[node]["op"]
                return "nchw" if op == "max_pool2d_with_indices.default" else "plain"

    def grids(self, nodes: Iterable[int]) -> dict[str, list[int]]:
        """For numbers of tokens: how many are extra, and the rows and columns of the others."""
        found = {}
        for node in nodes:
            shape = self.shapes[node]
            if len(shape) == 3 and shape[0] == 1:
                fits = [(shape[1] - rows * columns, rows, columns) for rows, columns in self.sizes]
                fits = [fit for fit in fits if 0 <= fit[0] <= MOST_EXTRA]
                if fits:
                    found[str(shape[1])] = list(min(fits, key=lambda fit: fit[0]))
        return found

    def attention(self) -> dict[str, int]:
        """Every softmax of an example's own values, named by the module that it is in."""
        found: dict[str, int] = {}
        for i, node in enumerate(self.nodes):
            if node["op"] in SOFTMAX and i in self.shapes:
                module = node.get("module", "")
                name = base = f"{module}/attention" if module else "attention"
                count = 1
                while name in found:
                    count += 1
                    name = f"{base}#{count}"
                found[name] = i
        return found

    def is_plain(self, attention: Iterable[int], grids: Mapping[str, list[int]]) -> bool:
        """Whether all attention is among one number of tokens, of which the first is no patch."""
        shapes = [self.shapes[node] for node in attention]
        sizes = {shape[2:] if len(shape) == 4 and shape[0] == 1 else () for shape in shapes}
        if len(sizes) != 1 or not (size := sizes.pop()):
            return False
        return size[0] == size[1] and grids.get(str(size[0]), [0])[0] > 0

    def classifier_input(self) -> int:
        """The input of the linear layer that computes the logits; the logits if there is none."""
        node = self.lowered.logits
        while self.nodes[node]["op"] in _SAME:
            node = self.nodes[node]["args"][0].get("node", 0)
        said = self.nodes[node]
        place = {"addmm.default": 1, "mm.default": 0, "convolution.default": 0}.get(said["op"])
        if place is None:
            return self.lowered.logits
        given = said["args"][place].get("node", 0)
        shape = self.shapes.get(given, ())
        pooled = len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))
        return given if pooled and shape[0] == 1 else self.lowered.logits

    def cam_tap(
        self, taps: Mapping[str, Any], grids: Mapping[str, list[int]], features: int
    ) -> str:
        """The last module with a grid of which the features depend on nearly every position."""
        width = self.shapes[features][1]
        spatial: dict[int, Any] = {}  # node -> positions of its grid, in one row
        for name, node in self.lowered.outputs.items():
            if self._in_attention(name):
                continue
            shape = self.shapes[node]
            nchw = taps[name]["layout"] == "nchw"
            nhwc = len(shape) == 4 and not nchw and shape[1:3] in self.sizes
            tokens = len(shape) == 3 and str(shape[1]) in grids
            if shape[0] == 1 and node < features and (nchw or nhwc or tokens):
                spatial[node] = tokens, nchw
        reached = self._reached(features, spatial, grids)
        if any(spatial[node][0] and self.shapes[node][2] == width for node in reached):
            reached = [n for n in reached if not spatial[n][0] or self.shapes[n][2] == width]
        if not reached:
            raise ValueError(
                "no module has an output with spatial extent that the logits depend on"
            )
        names = [name for name, node in self.lowered.outputs.items() if node == max(reached)]
        # The first computed it; modules around it return the same, and later ones pass it on.
        around = [name for name in names if f"{names[0]}.".startswith(f"{name}.")]
        return min(around, key=lambda name: name.count("."))

    def _in_attention(self, name: str) -> bool:
        """Whether a tap is a part of an attention, such as its values, and no block's result."""
        for node in self.nodes:
            around = f"{node.get('module')}."
            if node["op"] in SOFTMAX and name.startswith(around):
                return not name.removeprefix(around).isdigit()  # "attention.0" is all of a module
        return False

    def _reached(
        self, features: int, spatial: Mapping[int, Any], grids: Mapping[str, list[int]]
    ) -> list[int]:
        if not spatial:
            return []
        places, values = self.lowered.places, dict(self.lowered.known)
        generator = self.torch.Generator().manual_seed(0)
        image = self.torch.randn(2, 3, *self.image_size, generator=generator)
        values[places[0]] = image.requires_grad_()
        of = lambda said: self.torch.fx.node.map_arg(said, values.__getitem__)  # noqa: E731
        for node in self.lowered.order:
            if node not in values and node.target is self.torch.ops.aten.copy.default:
                array, source = of(node.args[:2])  # torch itself cannot differentiate it
                values[node] = source.to(array.dtype).expand_as(array)
            elif node not in values:
                values[node] = node.target(*of(node.args), **of(node.kwargs))
        wanted = values[places[features]]
        score = (wanted * self.torch.randn(wanted.shape, generator=generator)).sum()
        nodes = [node for node in spatial if values[places[node]].requires_grad]
        gradients = self.torch.autograd.grad(
            score, [values[places[node]] for node in nodes], allow_unused=True
        )
        found = []
        for node, gradient in zip(nodes, gradients, strict=True):
            tokens, nchw = spatial[node]
            if gradient is not None:
                extra = grids[str(gradient.shape[1])][0] if tokens else 0
                per_place = gradient.abs().amax(1 if nchw else -1)[:, extra:]
                if (per_place > 0).float().mean() > 0.5:
                    found.append(node)
        return found
