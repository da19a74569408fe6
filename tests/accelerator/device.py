"""A simulated accelerator: tensors on a device of their own, which may not be mixed with those of the CPU.

The device is PyTorch's ``lazy``, for which no kernel is loaded: whatever reaches it unnoticed raises. A tensor there
is a wrapper around a tensor of the CPU, its memory, on which all arithmetic is done. So results equal the CPU's bit
for bit, and what is tested is where tensors are, not how fast or how exact a device computes.

The rules are those of CUDA. Only a copy, an index into a device tensor, and a 0-dimensional operand of a pointwise
operation may come from the CPU. Everything for which CUDA makes the host wait is counted, with its place in the code:
values read (``item``, ``tolist``, ``bool``), copies either way, and shapes that depend on values (``nonzero``, masks
as indices).
"""

import sys
from collections import Counter
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("lazy", 0)
CPU = torch.device("cpu")
aten = torch.ops.aten

COPIES = {aten._to_copy, aten.copy_, aten.lift_fresh}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
# sizes of packed sequences are on the CPU, as operands and as results
PACKING = {aten._pack_padded_sequence, aten._pack_padded_sequence_backward}
# shapes or values that the host must know before it can go on
WAITING = {
    aten._local_scalar_dense,
    aten.equal,
    aten.nonzero,
    aten.masked_select,
    aten.bincount,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
}


class DeviceTensor(torch.Tensor):
    """A tensor of the device; *memory* is the CPU's tensor that holds its values."""

    memory: Tensor

    @staticmethod
    def __new__(cls, memory: Tensor) -> "DeviceTensor":
        return torch.Tensor._make_wrapper_subclass(
            cls, memory.size(), memory.stride(), memory.storage_offset(), dtype=memory.dtype, device=DEVICE
        )

    def __init__(self, memory: Tensor):
        self.memory = memory.detach()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Tuple = (), kwargs: Optional[Dict] = None) -> Any:
        return _run(func, args, kwargs or {})

    @property
    def data(self) -> Tensor:
        return torch.Tensor.data.__get__(self)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, DeviceTensor):
            raise RuntimeError("a tensor of the CPU was put into a tensor of the device")
        torch.Tensor.data.__set__(self, value)
        self.memory = value.memory

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, **kwargs: Any) -> str:
        return f"DeviceTensor({self.memory!r})"


class Accelerator(TorchDispatchMode):
    """Inside the block the device exists.

    Attributes:
        waits: how often the host waited for the device, by (file, line, operation).
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter = Counter()

    def __enter__(self) -> "Accelerator":
        # lets torch.tensor(values, device=...) pass by here, on its way from the CPU
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Tuple = (), kwargs: Optional[Dict] = None) -> Any:
        kwargs = kwargs or {}
        waited = _waits(func, args, kwargs)
        if waited:
            file, line = _place()
            self.waits[file, line, waited] += 1
        return _run(func, args, kwargs)


def to_device(module: torch.nn.Module) -> torch.nn.Module:
    """Move *module* in place. Its parameters stay the same objects, as they do on the way to CUDA.

    ``Module.to`` would make new ones of another class, without their attributes and without what is shared.
    """
    for part in module.modules():
        if isinstance(part, torch.nn.RNNBase):
            part._flat_weight_refs = []  # weak references forbid the swap; Module.to makes them again
    for parameter in module.parameters():
        kept = dict(vars(parameter))
        moved = torch.nn.Parameter(parameter.detach().to(DEVICE), parameter.requires_grad)
        torch.utils.swap_tensors(parameter, moved)
        vars(parameter).update(kept)
    return module.to(DEVICE)


def on_device(value: Any) -> bool:
    return isinstance(value, DeviceTensor)


# ---------------------------------------------------------------------- one operation


def _run(func: Any, args: Tuple, kwargs: Dict[str, Any]) -> Any:
    """Check where the operands are, compute on the CPU, and put the results where the operation leaves them."""
    name, tensors = func.overloadpacket, _tensors(args, kwargs)
    here = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    wanted = kwargs.get("device")
    if here:
        _check(func, args, kwargs, tensors)
    if wanted is not None:
        kwargs = {**kwargs, "device": CPU}
    found = func(*_map(args, DeviceTensor, _memory), **_map(kwargs, DeviceTensor, _memory))
    if wanted is not None:
        stays = torch.device(wanted).type == DEVICE.type
    else:
        stays = bool(here) and not (name is aten.copy_ and not on_device(args[0]))
    if not stays:
        return found
    if torch.Tag.inplace_view in func.tags:  # the wrapper takes the shape that its memory now has
        torch.Tensor.data.__set__(args[0], DeviceTensor(args[0].memory))
    if name is aten._pack_padded_sequence:
        return DeviceTensor(found[0]), found[1]
    given = {id(tensor.memory): tensor for tensor in here}  # what is written in place is given back
    return _map(found, torch.Tensor, lambda memory: _unchanged(given[id(memory)], func) if id(memory) in given
                else DeviceTensor(memory))  # fmt: skip


def _check(func: Any, args: Tuple, kwargs: Dict[str, Any], tensors: List[Tensor]) -> None:
    """CUDA's rules about operands of the CPU.

    Raises:
        RuntimeError: as CUDA would.
    """
    name = func.overloadpacket
    strangers = [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor)]
    if not strangers or name in COPIES or name in PACKING:
        return
    if name in INDEXING and on_device(args[0]):
        values = args[2] if len(args) > 2 else args[0]
        strangers = [] if on_device(values) or values.dim() == 0 else [values]
    elif torch.Tag.pointwise in func.tags:  # a number, not a tensor, to CUDA; but nothing is written into it
        written = _written(func, args, kwargs)
        strangers = [t for t in strangers if t.dim() > 0 or any(t is target for target in written)]
    if strangers:
        raise RuntimeError(
            f"Expected all tensors to be on the same device: {func} got operands on the CPU of the shapes "
            f"{[tuple(t.shape) for t in strangers]}"
        )


def _waits(func: Any, args: Tuple, kwargs: Dict[str, Any]) -> str:
    """Why the host waits for the device in this operation; empty if it does not."""
    name = func.overloadpacket
    if name is aten._to_copy:
        wanted = kwargs.get("device")
        to = wanted is not None and torch.device(wanted).type == DEVICE.type
        moved = wanted is not None and to != on_device(args[0])
        return _copy(to) if moved and args[0].numel() and not kwargs.get("non_blocking") else ""
    if name is aten.copy_:
        moved = on_device(args[0]) != on_device(args[1]) and args[0].numel()
        return _copy(on_device(args[0])) if moved and not (len(args) > 2 and args[2]) else ""
    if name in INDEXING:
        return _index_waits(args) if on_device(args[0]) else ""
    if name is aten.repeat_interleave and on_device(args[0]) and kwargs.get("output_size") is None:
        return "repeat_interleave"
    return str(name).removeprefix("aten.") if name in WAITING and on_device(args[0]) else ""


def _copy(to_device: bool) -> str:
    return "copy to the device" if to_device else "copy to the CPU"


def _index_waits(args: Tuple) -> str:
    indices = [index for index in args[1] if index is not None]
    masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
    if masks:
        number = len(args) > 2 and args[2].dim() == 0 and len(indices) == len(masks)  # CUDA fills, and does not wait
        return "" if number else "mask as index"
    return "" if all(map(on_device, indices)) else "index on the CPU"


def _place() -> Tuple[str, int]:
    """File and line of the innermost caller outside of torch."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if file != __file__ and "/torch/" not in file and not file.startswith("<"):
            break
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _tensors(*values: Any) -> List[Tensor]:
    found: List[Tensor] = []
    _map(values, torch.Tensor, found.append)
    return found


def _map(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """*value* with *change* made to what is of the *kind*, inside lists, tuples and dictionaries."""
    if isinstance(value, kind):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)([_map(part, kind, change) for part in value])
    if type(value) is dict:
        return {key: _map(part, kind, change) for key, part in value.items()}
    return value


def _memory(tensor: DeviceTensor) -> Tensor:
    return tensor.memory


def _unchanged(tensor: DeviceTensor, func: Any) -> DeviceTensor:
    if tensor.size() != tensor.memory.size() or tensor.stride() != tensor.memory.stride():
        raise NotImplementedError(f"the simulated device cannot change a shape in place ({func})")
    return tensor


def _written(func: Any, args: Tuple, kwargs: Dict[str, Any]) -> List[Tensor]:
    """Operands that the operation writes into."""
    arguments = func._schema.arguments
    given = [value for argument, value in zip(arguments, args) if argument.alias_info and argument.alias_info.is_write]
    given += [kwargs[a.name] for a in arguments[len(args) :] if a.alias_info and a.name in kwargs]
    return _tensors(given)
