"""Arrays with named axes, to write the drops, differences and averages of a study."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rival_jax.types import Array

Key = tuple[Any, ...]


class Axis(NamedTuple):
    """One axis of an array: every place has a value for each field.

    Fields whose combinations do not all occur share an axis: ("treatment", "region") with the keys
    ("none", "none"), ("grey", "background").
    """

    fields: tuple[str, ...]
    keys: Sequence[Key]


class Counts(NamedTuple):
    """How many images and classes every number is made from; arrays of one shape.

    Those of a class that only jax knows are jax's, and perhaps traced.
    """

    images: Any  # int, images that have a value
    every: Any  # int, images of the same classes, with a value or without
    classes: Any  # int, with at least one image that has a value
    largest: Any  # int, images with a value in the class that has most of them


@dataclasses.dataclass(frozen=True)
class Named:
    """An array with named axes, and the counts behind each of its numbers.

    Attributes:
      values: one array axis for each of `axes`; NumPy's, or jax's and perhaps traced.
      axes: no field occurs in two of them.
      counts: shaped like `values`, known before anything is computed, but see `Counts`.
    """

    values: Array | np.ndarray
    axes: tuple[Axis, ...]
    counts: Counts

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields, in the order of the axes."""
        return tuple(field for axis in self.axes for field in axis.fields)

    def of(self, field: str) -> tuple[Any, ...]:
        """The values of a field, each once, in order.

        Raises:
          ValueError: if there is no such field.
        """
        place, column = self._place(field)
        return tuple(dict.fromkeys(key[column] for key in self.axes[place].keys))

    def where(self, **wanted: Any) -> Named:
        """The places at which every field has the wanted value, or one of a list."""
        found = self
        for field, value in wanted.items():
            place, column = found._place(field)
            several = value if isinstance(value, (list, tuple)) else (value,)
            axis = found.axes[place]
            kept = [i for i, key in enumerate(axis.keys) if key[column] in several]
            found = found._chosen(place, kept, Axis(axis.fields, tuple(axis.keys[i] for i in kept)))
        return found

    def at(self, **wanted: Any) -> Named:
        """The places at which every field has the wanted value; these fields are removed.

        Raises:
          ValueError: if there is no such place.
        """
        found = self
        for field, value in wanted.items():
            found = found.where(**{field: value})._dropped(field)
        return found

    def without(self, **unwanted: Any) -> Named:
        """All places except those where a field has the unwanted value."""
        found = self
        for field, value in unwanted.items():
            found = found.where(**{field: [v for v in found.of(field) if v != value]})
        return found

    def reordered(self, axis: Axis) -> Named:
        """The places with the keys of `axis`, in its order; other places of these fields go."""
        place = [mine.fields for mine in self.axes].index(axis.fields)
        if self.axes[place].keys == axis.keys:
            return self
        there = {key: index for index, key in enumerate(self.axes[place].keys)}
        return self._chosen(place, [there[key] for key in axis.keys], axis)

    def relabelled(self, field: str, fields: Sequence[str], labels: Mapping[Any, Key]) -> Named:
        """The same numbers with other fields in a field's place; `labels`: by its values."""
        place, column = self._place(field)
        names, keys = self.axes[place]
        told = tuple((*key[:column], *labels[key[column]], *key[column + 1 :]) for key in keys)
        axis = Axis((*names[:column], *fields, *names[column + 1 :]), told)
        return dataclasses.replace(self, axes=self._with(place, axis))

    def mean(self, field: str, *, by: str = "each") -> Named:
        """The mean over a field, for every combination of the other fields on its axis.

        Places without any image do not count.

        Args:
          field: the field to average over; it is removed.
          by: "each": places weigh the same; "images": in proportion to their images.
        """
        place, column = self._place(field)
        axis = self.axes[place]
        rest = [key[:column] + key[column + 1 :] for key in axis.keys]
        keys = tuple(dict.fromkeys(rest))
        member = np.array([[key == one for one in rest] for key in keys], np.float32)  # [k, places]
        known = _library(self.counts.images)
        images = known.moveaxis(self.counts.images, place, -1)
        weight = images if by == "images" else images > 0
        weight = weight.astype(np.float32)[..., None, :] * member
        weight = weight / known.maximum(weight.sum(-1, keepdims=True), 1)
        library = _library(self.values)
        moved = library.moveaxis(self.values, place, -1)
        alike = weight.reshape(-1, *member.shape)[0]
        if known is not np:
            values = (moved[..., None, :] * weight).sum(-1)
        elif len(keys) == 1 and (weight == alike[0, 0]).all():
            values = self.values.mean(place, keepdims=True)
            values = library.moveaxis(values, place, -1)
        elif (weight == alike).all():
            values = _product(moved, alike.T)
        else:
            values = (moved[..., None, :] * weight).sum(-1)
        fields = axis.fields[:column] + axis.fields[column + 1 :]
        counts = _pooled(self.counts, place, member > 0, summed=field == "class")
        found = Named(
            library.moveaxis(values, -1, place), self._with(place, Axis(fields, keys)), counts
        )
        return found if fields else found._chosen(place, 0, None)

    def standard_error(self, field: str) -> Named:
        """The standard error of the mean over a field that is alone on its axis; NumPy's."""
        over = [axis.fields for axis in self.axes].index((field,))
        errors = np.std(self.values, axis=over, ddof=1) / np.sqrt(self.values.shape[over])
        return dataclasses.replace(self.mean(field), values=errors)

    def grouped(self, field: str, members: Mapping[str, Sequence[Any]]) -> Named:
        """The means over the members of every group; the field "group" comes first, `field` goes.

        Raises:
          ValueError: for a group without members, or with a missing one.
        """
        for group, names in members.items():
            unknown = sorted(set(names) - set(self.of(field)))
            if unknown or not names:
                raise ValueError(
                    f"group {group!r} names {', '.join(unknown) or f'no {field}'}; there are "
                    f"{', '.join(map(str, self.of(field)))}"
                )
        parts = [self.where(**{field: list(names)}).mean(field) for names in members.values()]
        return stacked("group", dict(zip(members, parts, strict=True)))

    def differences(self, field: str) -> Named:
        """Later minus earlier, for all pairs of places that differ only in a field.

        The new field "minus" has the earlier one's value.
        """
        place, column = self._place(field)
        axis = self.axes[place]
        rest = [key[:column] + key[column + 1 :] for key in axis.keys]
        every = itertools.combinations(range(len(rest)), 2)
        pairs = [(a, b) for a, b in every if rest[a] == rest[b]]
        first, second = ([pair[i] for pair in pairs] for i in (0, 1))
        keys = tuple((*axis.keys[b], axis.keys[a][column]) for a, b in pairs)
        changed = Axis((*axis.fields, "minus"), keys)
        later, earlier = (self._chosen(place, some, changed) for some in (second, first))
        return later - earlier

    def map(self, function: Callable[..., Array | np.ndarray], *others: Named) -> Named:
        """`function` of this array and others, elementwise at equal keys.

        The result has this array's axes, then those only in the others; it is NumPy's if all are.

        Raises:
          ValueError: if an axis has different keys in two arrays.
        """
        axes = list(self.axes)
        for other in others:
            axes += [a for a in other.axes if a.fields not in [mine.fields for mine in axes]]
        every = [one._spread(axes) for one in (self, *others)]
        counts = Counts(*(functools.reduce(_library(*p).minimum, p) for p in _columns(every)))
        values = function(*(one.values for one in every))
        if all(isinstance(one.values, np.ndarray) for one in every):
            values = np.asarray(values)
        return Named(values, tuple(axes), counts)

    def __sub__(self, other: Named) -> Named:
        return self.map(lambda mine, theirs: mine - theirs, other)

    def _place(self, field: str) -> tuple[int, int]:
        for place, axis in enumerate(self.axes):
            if field in axis.fields:
                return place, axis.fields.index(field)
        raise ValueError(f"no field {field!r}; there are {', '.join(self.fields) or 'none'}")

    def _with(self, place: int, axis: Axis | None) -> tuple[Axis, ...]:
        changed = (axis,) if axis else ()
        return self.axes[:place] + changed + self.axes[place + 1 :]

    def _chosen(self, place: int, index: Any, axis: Axis | None) -> Named:
        where = (slice(None),) * place + (np.asarray(index, int),)
        counts = Counts(*(array[where] for array in self.counts))
        return Named(self.values[where], self._with(place, axis), counts)

    def _dropped(self, field: str) -> Named:
        place, column = self._place(field)
        axis = self.axes[place]
        if not axis.keys:
            raise ValueError(f"{field}: no such value")
        fields = axis.fields[:column] + axis.fields[column + 1 :]
        if not fields:
            return self._chosen(place, 0, None)
        keys = tuple(key[:column] + key[column + 1 :] for key in axis.keys)
        return Named(self.values, self._with(place, Axis(fields, keys)), self.counts)

    def _spread(self, axes: Sequence[Axis]) -> Named:
        """The same numbers on all of `axes`, broadcast over missing ones."""
        mine = [axis.fields for axis in self.axes]
        for axis in axes:
            if axis.fields in mine and self.axes[mine.index(axis.fields)].keys != axis.keys:
                raise ValueError(f"axis {axis.fields}: the keys of two arrays differ")
        order = [mine.index(axis.fields) for axis in axes if axis.fields in mine]
        shape = [len(axis.keys) if axis.fields in mine else 1 for axis in axes]
        whole = tuple(len(axis.keys) for axis in axes)
        counts = (
            _library(a).broadcast_to(a.transpose(order).reshape(shape), whole) for a in self.counts
        )
        values = _library(self.values).broadcast_to(
            self.values.transpose(order).reshape(shape), whole
        )
        return Named(values, tuple(axes), Counts(*counts))


def stacked(field: str | tuple[str, ...], parts: Mapping[Any, Named]) -> Named:
    """Stacks arrays with equal axes along a new first axis, named by the keys of `parts`.

    Args:
      field: of the new axis; or several, then the keys are tuples.
    """
    found, fields = list(parts.values()), (field,) if isinstance(field, str) else field
    every = [one._spread(found[0].axes) for one in found]
    axis = Axis(fields, tuple((key,) if isinstance(field, str) else key for key in parts))
    counts = Counts(*(_library(*arrays).stack(arrays) for arrays in _columns(every)))
    values = _library(found[0].values).stack([one.values for one in every])
    return Named(values, (axis, *found[0].axes), counts)


def _product(left: Any, right: np.ndarray) -> Any:
    if isinstance(left, np.ndarray):
        return left @ right
    return jnp.matmul(left, right, precision="highest")  # else accelerators round the factors


def _library(*values: Any) -> Any:
    return np if all(isinstance(one, (np.ndarray, np.generic)) for one in values) else jnp


def _columns(every: Sequence[Named]) -> list[list[Any]]:
    return [[getattr(one.counts, name) for one in every] for name in Counts._fields]


def _pooled(counts: Counts, place: int, member: np.ndarray, *, summed: bool) -> Counts:
    """Counts of means over places: summed over classes; else those of the place with fewest."""
    library = _library(*counts)
    moved = [library.moveaxis(array, place, -1)[..., None, :] for array in counts]
    ways = ("sum", "sum", "sum", "max") if summed else ("min",) * 4
    integer = np.int64 if library is np else np.int32
    nothing = integer(0 if summed else np.iinfo(integer).max)
    found = (
        getattr(library.where(member, array, nothing), way)(axis=-1)
        for way, array in zip(ways, moved, strict=True)
    )
    return Counts(*(library.moveaxis(array, -1, place) for array in found))
