"""conv3d.torch: models compute with the engine what they computed with PyTorch."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import conv3d  # noqa: E402
from conv3d import engine  # noqa: E402

FORMATS = [torch.contiguous_format, torch.channels_last_3d]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the engine's functions that run."""
    seen: list[str] = []

    def watch(owner: Any, name: str, label: str) -> None:
        real = getattr(owner, name)

        def watched(*args: Any, **keywords: Any) -> Any:
            seen.append(label)
            return real(*args, **keywords)

        monkeypatch.setattr(owner, name, watched)

    for name in ("forward", "backward_input", "backward_filter"):
        watch(engine, name, name)
    watch(engine.Plan, "__call__", "plan")
    return seen


def pair(layer: Any) -> tuple[Any, Any]:
    """The layer accelerated, and as it was."""
    before = copy.deepcopy(layer)
    return conv3d.torch.accelerate(layer), before


def close(a: Any, b: Any, share: float = 1e-5) -> None:
    assert a.shape == b.shape and a.dtype == b.dtype
    scale = max(float(b.detach().abs().max()), 1e-30)
    assert float((a.detach() - b.detach()).abs().max()) <= share * scale


CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": (1, 3, 2), "padding": (0, 2, 1)},
    {"kernel_size": (2, 4, 3), "padding": "same"},
    {"kernel_size": 3, "padding": "same", "dilation": (1, 2, 1)},
    {"kernel_size": 3, "padding": "valid", "bias": False},
    {"kernel_size": 3, "stride": (2, 1, 3), "padding": 1},
    {"kernel_size": 2, "dilation": (2, 1, 3)},
    {"kernel_size": 3, "padding": 1, "groups": 2},
    {"kernel_size": 1, "groups": 4},
    {"kernel_size": 3, "padding": 4},
]
TRANSPOSED = [
    {"kernel_size": 3},
    {"kernel_size": 2, "stride": 2},
    {
        "kernel_size": (3, 2, 4),
        "stride": (2, 1, 3),
        "padding": (1, 0, 2),
        "output_padding": (1, 0, 2),
    },
    {"kernel_size": 3, "padding": 2, "bias": False},
    {"kernel_size": 3, "dilation": (2, 1, 3), "padding": 2, "output_padding": (1, 0, 2)},
    {"kernel_size": 3, "stride": 2, "groups": 2, "output_padding": 1},
]
LAYERS = [(nn.Conv3d, k) for k in CONVOLUTIONS] + [(nn.ConvTranspose3d, k) for k in TRANSPOSED]
IDS = [f"{c.__name__}-{i}" for i, (c, _) in enumerate(LAYERS)]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("format", FORMATS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize(("kind", "keywords"), LAYERS, ids=IDS)
def test_values_gradients_and_memory_format(
    kind: Any, keywords: Any, format: Any, calls: list[str]
) -> None:
    torch.manual_seed(1)
    ours, theirs = pair(kind(4, 8, **keywords))
    x = torch.randn(2, 4, 7, 8, 9).contiguous(memory_format=format)
    with torch.no_grad():
        close(ours(x), theirs(x))
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, z = ours(a), theirs(b)
    close(y, z)
    assert y.is_contiguous(memory_format=format)
    g = torch.randn_like(z)
    y.backward(g)
    z.backward(g)
    close(a.grad, b.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad)
    forward = kind is nn.Conv3d
    assert calls[:2] == (["plan", "forward"] if forward else ["backward_input"] * 2)
    gradients = ["backward_filter", "backward_input" if forward else "forward"]
    assert sorted(calls[2:]) == gradients


@pytest.mark.parametrize(("kind", "keywords"), LAYERS, ids=IDS)
def test_a_sample_without_batch(kind: Any, keywords: Any, calls: list[str]) -> None:
    ours, theirs = pair(kind(4, 8, **keywords))
    x = torch.randn(4, 7, 8, 9)
    close(ours(x), theirs(x))
    with torch.inference_mode():
        close(ours(x), theirs(x))
    assert len(calls) == 2


@pytest.mark.parametrize("layer", [nn.Conv3d(2, 3, 2, padding=1), nn.ConvTranspose3d(2, 3, 2, 2)])
@pytest.mark.parametrize("format", FORMATS, ids=["contiguous", "channels_last"])
def test_gradients_of_gradients(layer: Any, format: Any) -> None:
    layer = conv3d.torch.accelerate(copy.deepcopy(layer)).double()
    x = torch.randn(1, 2, 2, 3, 2, dtype=torch.float64).contiguous(memory_format=format)
    x.requires_grad_()

    def function(x: Any, weight: Any, bias: Any) -> Any:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    operands = (x, layer.weight, layer.bias)
    assert torch.autograd.gradcheck(function, operands)
    assert torch.autograd.gradgradcheck(function, operands)


@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("format", FORMATS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("kind", [nn.Conv3d, nn.ConvTranspose3d])
def test_dtypes(kind: Any, format: Any, name: str, calls: list[str]) -> None:
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    dtype = getattr(torch, name)
    share = {"float64": 1e-12, "float16": 2e-3, "bfloat16": 1.6e-2}[name]
    ours, theirs = pair(kind(3, 4, 3, padding=1).to(dtype))
    theirs = theirs.double()  # of the same rounded weights
    x = torch.randn(1, 3, 5, 6, 4).contiguous(memory_format=format).to(dtype)
    a, b = x.clone().requires_grad_(), x.double().requires_grad_()
    y, z = ours(a), theirs(b)
    assert y.dtype == dtype and y.is_contiguous(memory_format=format)
    close(y.double(), z, share)
    nn.functional.relu(y, inplace=True).sum().backward()  # in place after ours, as in many models
    nn.functional.relu(z).sum().backward()
    assert a.grad.dtype == ours.weight.grad.dtype == dtype
    close(a.grad.double(), b.grad, 4 * share)
    close(ours.weight.grad.double(), theirs.weight.grad, 4 * share)
    with torch.no_grad():
        close(ours(x).double(), theirs(x.double()), share)
    assert len(calls) == 4


@pytest.mark.parametrize("format", FORMATS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_nothing_is_copied(format: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    layer = conv3d.torch.accelerate(nn.Conv3d(3, 4, 3).to(getattr(torch, name)))
    x = torch.randn(2, 3, 5, 6, 7).contiguous(memory_format=format).to(layer.weight.dtype)
    seen = []
    real = engine.Plan.__call__

    def plan(self: Any, input: Any, out: Any = None) -> Any:
        result = real(self, input, out)
        seen.append((input.ctypes.data, input.flags.c_contiguous, result.ctypes.data))
        return result

    monkeypatch.setattr(engine.Plan, "__call__", plan)
    with torch.no_grad():
        y = layer(x)
    assert seen == [(x.data_ptr(), True, y.data_ptr())]


def test_tensors_in_no_memory_format_are_taken(calls: list[str]) -> None:
    ours, theirs = pair(nn.Conv3d(3, 4, 3, padding=1))
    x = torch.randn(2, 3, 5, 6, 14)
    odd = [
        x[..., ::2],
        x.transpose(2, 4),
        x[:, :, :1].expand(2, 3, 5, 6, 14),
        x.contiguous(memory_format=torch.channels_last_3d)[:, :, 1:, :, 1:],
    ]
    with torch.no_grad():
        for value in odd:
            close(ours(value), theirs(value))
        assert ours(odd[3]).is_contiguous(memory_format=torch.channels_last_3d)
    assert len(calls) == 5


@pytest.mark.parametrize("sizes", [(1, 1, 4, 5, 6), (2, 3, 1, 1, 1), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("format", FORMATS, ids=["contiguous", "channels_last"])
def test_strides_that_say_both_formats(sizes: Any, format: Any) -> None:
    ours, theirs = pair(nn.Conv3d(sizes[1], 4, 3, padding=1))
    x = torch.randn(sizes).contiguous(memory_format=format)
    with torch.no_grad():
        y, z = ours(x), theirs(x)
    close(y, z)
    assert y.stride() == z.stride()


# --- the filter that is kept ---------------------------------------------------------------------


def changes() -> dict[str, Any]:
    """Ways to change a layer's weights or bias."""

    def load(layer: Any) -> None:
        other = copy.deepcopy(layer)
        other.reset_parameters()
        layer.load_state_dict(other.state_dict())

    def step(layer: Any) -> None:
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(torch.ones(1, layer.in_channels, 4, 4, 4)).square().sum().backward()
        optimizer.step()

    def exchange(layer: Any) -> None:
        layer.weight.data.copy_(layer.weight.data.flip(0))

    def through_numpy(layer: Any) -> None:
        layer.weight.detach().numpy()[3, 2, 2, 2, 2] += 1

    def new_data_twice(layer: Any) -> None:
        layer.weight.data = torch.randn_like(layer.weight)
        layer.weight.data = torch.randn_like(layer.weight)

    def new_parameter(layer: Any) -> None:
        layer.weight = nn.Parameter(torch.randn_like(layer.weight))

    return {
        "step": step,
        "load": load,
        "data": lambda layer: layer.weight.data.mul_(2),
        "one element": lambda layer: layer.weight.data[0, 0, 0, 0, 0].add_(1),
        "last element": lambda layer: layer.weight.data[3, 2, 2, 2, 2].add_(1),
        "exchange": exchange,
        "numpy": through_numpy,
        "new data": new_data_twice,
        "new parameter": new_parameter,
        "bias": lambda layer: layer.bias.data.add_(1),
        "no bias": lambda layer: setattr(layer, "bias", None),
        "padding": lambda layer: setattr(layer, "padding", (1, 1, 1)),
        "dtype": lambda layer: layer.double(),
        "format": lambda layer: layer.to(memory_format=torch.channels_last_3d),
    }


@pytest.mark.parametrize("train", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("kind", [nn.Conv3d, nn.ConvTranspose3d])
@pytest.mark.parametrize("name", changes())
def test_every_change_of_the_weights_is_noticed(name: str, kind: Any, train: bool) -> None:
    torch.manual_seed(2)
    layer = conv3d.torch.accelerate(kind(3 if kind is nn.Conv3d else 4, 4, 3))
    x = torch.randn(1, layer.in_channels, 5, 5, 5)
    with torch.set_grad_enabled(train):
        layer(x)
    changes()[name](layer)
    x = x.to(layer.weight.dtype)
    keywords = {"padding": layer.padding}
    function = nn.functional.conv3d if kind is nn.Conv3d else nn.functional.conv_transpose3d
    with torch.set_grad_enabled(train):
        close(layer(x), function(x, layer.weight, layer.bias, **keywords))


def test_large_weights_are_known_by_all_their_words() -> None:
    from conv3d.torch.modules import _fingerprint

    weight = torch.randn(32, 40, 3, 3, 3)
    flat = weight.view(-1)
    before = _fingerprint(weight)
    assert len(before) < weight.numel()
    for index in range(0, flat.numel(), 997):
        old = float(flat[index])
        flat[index] = old * (1 + 2**-20)
        assert _fingerprint(weight) != before
        flat[index] = old
    assert _fingerprint(weight) == before
    assert _fingerprint(weight.flip(0)) != before
    assert _fingerprint(weight.flip(1)) != before
    assert _fingerprint(weight.flip(4)) != before
    assert _fingerprint(weight.contiguous(memory_format=torch.channels_last_3d)) != b""


@pytest.mark.parametrize("kind", [nn.Conv3d, nn.ConvTranspose3d])
def test_the_filter_is_prepared_once(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from conv3d.torch import functions

    made = []
    real = functions.to_filter
    monkeypatch.setattr(functions, "to_filter", lambda w: made.append(1) or real(w))
    layer = conv3d.torch.accelerate(kind(3, 4, 3)).eval()
    with torch.no_grad():
        for size in (5, 6, 5):
            layer(torch.randn(1, 3, size, size, size))
    assert len(made) == 1


# --- what stays ----------------------------------------------------------------------------------


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(True))
        self.up = nn.ModuleDict({"deconv": nn.ConvTranspose3d(4, 2, 2, stride=2)})
        self.shared = self.down[0]
        self.flat = nn.Conv2d(1, 1, 3)

    def forward(self, x: Any) -> Any:
        return self.up["deconv"](self.down(x))


def test_the_model_stays_what_it_was() -> None:
    model = Model().eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    parts, text = list(model.named_modules()), repr(model)
    parameters = list(model.parameters())
    seen = []
    model.down[0].register_forward_hook(lambda *_: seen.append("hook"))
    x = torch.randn(1, 1, 6, 6, 6)
    with torch.no_grad():
        before = model(x)
        assert conv3d.torch.accelerate(model) is model
        close(model(x), before)
    assert seen == ["hook", "hook"]
    assert [n for n, _ in model.named_modules()] == [n for n, _ in parts]
    assert all(a is b for (_, a), (_, b) in zip(model.named_modules(), parts, strict=True))
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert model.shared is model.down[0]
    assert type(model.flat) is nn.Conv2d
    assert repr(model) == text
    assert not model.down[0].training and model.train().down[0].training
    after = model.state_dict()
    assert list(after) == list(state)
    assert all(torch.equal(after[name], state[name]) for name in state)
    kinds = [type(part) for part in model.modules()]
    conv3d.torch.accelerate(model)
    assert [type(part) for part in model.modules()] == kinds
    Model().load_state_dict(after)


@pytest.mark.parametrize("layer", [nn.Conv3d(2, 3, 3), nn.ConvTranspose3d(2, 3, 3)])
@pytest.mark.parametrize("how", ["deepcopy", "copy", "pickle", "save"])
def test_copies_and_pickles(layer: Any, how: str, calls: list[str]) -> None:
    layer = conv3d.torch.accelerate(copy.deepcopy(layer))
    x = torch.randn(1, 2, 4, 4, 4)
    with torch.no_grad():
        y = layer(x)
        if how == "deepcopy":
            other = copy.deepcopy(layer)
        elif how == "copy":
            other = copy.copy(layer)
        elif how == "pickle":
            other = pickle.loads(pickle.dumps(layer))
        else:
            file = io.BytesIO()
            torch.save(layer, file)
            file.seek(0)
            other = torch.load(file, weights_only=False)
        assert type(other) is type(layer) and "_conv3d_cache" not in other.__dict__
        assert torch.equal(other(x), y)
    assert len(calls) == 2


class OnlyInit(nn.Conv3d):
    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, (1, 3, 3), padding=(0, 1, 1))


class Standardised(nn.Conv3d):
    def forward(self, x: Any) -> Any:
        w = self.weight - self.weight.mean((1, 2, 3, 4), keepdim=True)
        return self._conv_forward(x, w, self.bias)


class OwnConvolution(nn.Conv3d):
    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        return super()._conv_forward(input, 2 * weight, bias)


class OwnTranspose(nn.ConvTranspose3d):
    def forward(self, input: Any, output_size: Any = None) -> Any:
        return 3 * super().forward(input, output_size)


def test_subclasses(calls: list[str]) -> None:
    x = torch.randn(1, 3, 4, 5, 6)
    for layer, runs in [
        (OnlyInit(3), 1),
        (Standardised(3, 4, 3), 1),
        (OwnConvolution(3, 4, 3), 0),
        (OwnTranspose(3, 4, 3), 0),
    ]:
        ours, theirs = pair(layer)
        calls.clear()
        with torch.no_grad():
            close(ours(x), theirs(x))
        assert len(calls) == runs, type(layer)
        assert isinstance(ours, type(theirs))
        assert type(pickle.loads(pickle.dumps(ours))) is type(ours)


def test_weights_that_are_computed_anew_in_each_call(calls: list[str]) -> None:
    """Such a tensor may lie where the last call's lay, with the same version."""
    layer = conv3d.torch.accelerate(Standardised(3, 4, 3))
    x = torch.randn(1, 3, 4, 4, 4)
    with torch.no_grad():
        for _ in range(4):
            layer.weight.normal_()
            w = layer.weight - layer.weight.mean((1, 2, 3, 4), keepdim=True)
            close(layer(x), nn.functional.conv3d(x, w, layer.bias))
            del w
    assert len(calls) == 4


def test_parametrized_modules() -> None:
    from torch.nn.utils import parametrize
    from torch.nn.utils.parametrizations import weight_norm

    x = torch.randn(1, 3, 4, 4, 4)
    before = weight_norm(nn.Conv3d(3, 4, 3))
    ours, theirs = pair(before)
    close(ours(x), theirs(x))
    parametrize.remove_parametrizations(ours, "weight")
    assert type(ours) is nn.Conv3d
    after = weight_norm(conv3d.torch.accelerate(nn.Conv3d(3, 4, 3)))
    for _ in range(3):
        with torch.no_grad():
            for parameter in after.parameters():
                parameter.normal_()
            close(after(x), nn.functional.conv3d(x, after.weight, after.bias))


def test_lazy_modules_are_left_until_they_are_real(calls: list[str]) -> None:
    layer = conv3d.torch.accelerate(nn.LazyConv3d(4, 3))
    x = torch.randn(1, 3, 4, 4, 4)
    layer(x)
    assert calls == []
    conv3d.torch.accelerate(layer)(x)
    assert calls == ["forward"]


# --- where PyTorch runs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keywords",
    [
        {"padding": 1, "padding_mode": "circular"},
        {"padding": (1, 0, 2), "padding_mode": "replicate"},
        {"padding": "same", "padding_mode": "reflect"},
        {"stride": 2, "dilation": 2},
    ],
)
def test_convolutions_that_the_engine_has_not(keywords: Any, calls: list[str]) -> None:
    ours, theirs = pair(nn.Conv3d(2, 3, 3, **keywords))
    x = torch.randn(1, 2, 7, 7, 7)
    assert torch.equal(ours(x), theirs(x))
    assert calls == []


def test_output_size_of_the_transposed_form(calls: list[str]) -> None:
    ours, theirs = pair(nn.ConvTranspose3d(2, 3, 3, stride=2, padding=1))
    x = torch.randn(1, 2, 4, 5, 6)
    for size in [(7, 9, 11), (8, 10, 12), (7, 10, 11)]:
        close(ours(x, size), theirs(x, output_size=size))
    with pytest.raises(ValueError, match="output size"):
        ours(x, output_size=(9, 9, 9))
    assert len(calls) == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(1, 5, 4, 4, 4),  # channels
        lambda: torch.randn(1, 2, 2, 4, 4),  # smaller than the window
        lambda: torch.randn(2, 4, 4),  # rank
        lambda: torch.randn(1, 2, 4, 4, 4, dtype=torch.float64),  # not the weight's
        lambda: torch.ones(1, 2, 4, 4, 4, dtype=torch.int64),
        lambda: [1.0],
    ],
)
def test_errors_are_those_of_pytorch(make: Any) -> None:
    ours, theirs = pair(nn.Conv3d(2, 3, 3))
    with pytest.raises((RuntimeError, TypeError)) as expected:
        theirs(make())
    with pytest.raises(expected.type) as found:
        ours(make())
    assert str(found.value) == str(expected.value)


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning")
def test_other_tensors(calls: list[str]) -> None:
    ours, theirs = pair(nn.Conv3d(2, 3, 3))
    meta = copy.deepcopy(ours).to("meta")
    assert meta(torch.empty(1, 2, 5, 5, 5, device="meta")).shape == (1, 3, 3, 3, 3)
    empty = torch.empty(0, 2, 5, 5, 5)
    assert ours(empty).shape == theirs(empty).shape

    class Named(torch.Tensor):
        pass

    x = torch.randn(1, 2, 5, 5, 5)
    assert type(ours(x.as_subclass(Named))) is Named
    negative = torch._neg_view(x)
    assert torch.equal(ours(negative), theirs(negative))
    wide = copy.deepcopy(ours).to(torch.complex64)
    assert wide(x.to(torch.complex64)).dtype == torch.complex64
    assert calls == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's, of its own functions
def test_calls_that_are_recorded_or_transformed(calls: list[str]) -> None:
    ours, theirs = pair(nn.Sequential(nn.Conv3d(2, 3, 3), nn.ConvTranspose3d(3, 2, 3)))
    x = torch.randn(2, 2, 5, 5, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ours(x), theirs(x)) and ours(x).dtype == torch.bfloat16
    both = (torch.func.vmap(net, randomness="error")(x[None])[0] for net in (ours, theirs))
    assert torch.equal(*both)
    _, tangent = torch.func.jvp(ours, (x,), (x,))
    close(tangent, torch.func.jvp(theirs, (x,), (x,))[1])
    graph = torch.fx.symbolic_trace(ours)
    close(graph(x), theirs(x))
    exported = torch.export.export(ours, (x,))
    assert "conv3d" in str(exported.graph)
    assert calls == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_traces_hold_the_ops_of_pytorch(calls: list[str]) -> None:
    ours, theirs = pair(nn.Conv3d(2, 3, 3))
    x = torch.randn(1, 2, 5, 5, 5)
    traced = torch.jit.trace(ours, (x,), check_trace=False)
    assert torch.equal(traced(2 * x), theirs(2 * x))
    assert calls == []


# --- threads, training, the door -----------------------------------------------------------------


def test_threads_of_both_libraries_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    from conv3d.torch import functions

    for theirs, ours, expected in [(1, 5, 1), (4, 3, 3), (2, 2, 2)]:
        monkeypatch.setattr(torch, "get_num_threads", lambda n=theirs: n)
        with engine.num_threads(ours):
            assert functions.num_threads() == expected


def test_training_goes_the_same_way(calls: list[str]) -> None:
    torch.manual_seed(3)
    ours, theirs = pair(Model())
    x, target = torch.randn(4, 1, 6, 6, 6), torch.randn(4, 2, 12, 12, 12)
    losses = []
    for model in (ours, theirs):
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        losses.append([])
        for _ in range(8):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), target)
            loss.backward()
            optimizer.step()
            losses[-1].append(float(loss.detach()))
    assert np.allclose(*losses, rtol=1e-4)
    assert losses[0][-1] < losses[0][0]
    assert {"forward", "backward_input", "backward_filter"} == set(calls)


def test_weights_changed_before_backward_are_refused() -> None:
    layer = conv3d.torch.accelerate(nn.Conv3d(2, 3, 3))
    y = layer(torch.randn(1, 2, 4, 4, 4, requires_grad=True))
    with torch.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"module is Tensor; a torch\.nn\.Module is accepted"):
        conv3d.torch.accelerate(torch.zeros(1))
