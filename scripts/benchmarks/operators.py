"""Tables of the fused attention: its speed beside what one would write instead, and how it scales."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from ffattn.nn import FeedForwardAttention
from scripts.benchmarks.meters import now, reset_peak, status_kb

BATCH = 100
HIDDEN = 100
FEATURES = 2
SLOPE = 0.01
# For each (sequence, step, hidden unit), with 2 features. Forward: embedding 4, activation 1, score 2, weighted sum 2.
# Backward: embedding and activation again 5, g . h 2, dL/dh 3, dL/dW 4, dL/db 1, dL/dquery 2.
OPERATIONS = 26
TIMES = 50, 500, 5_000, 10_000, 100_000
MOST_BYTES = 8e9  # eager PyTorch keeps about five tensors of batch x time x hidden; beyond this it is not tried
_REST = 0.2  # seconds of a turn that do not count: they bring memory and caches back from the turn before
_COUNTED = 0.2  # seconds of a turn that do
_LEAST = 3  # steps of a turn that count
Step = Callable[[], object]


class Problem:
    """Inputs, a layer and an outer gradient.

    Args:
        time: Steps in each sequence.
        batch: Number of sequences.
        device: Where they lie.
    """

    def __init__(self, time: int, batch: int = BATCH, device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.x = torch.randn(batch, time, FEATURES, device=device)
        self.lengths = torch.full((batch,), time, device=device)
        self.layer = FeedForwardAttention(FEATURES, HIDDEN, slope=SLOPE).to(device)
        self.g = torch.randn(batch, HIDDEN, device=device)

    def run(self, context: Callable[[Tensor], Tensor]) -> Step:
        """Forward and backward of one way to compute the context."""
        parameters = list(self.layer.parameters())  # found once, as an optimiser does

        def step() -> None:
            for parameter in parameters:
                parameter.grad = None
            context(self.x).backward(self.g)

        return step

    def fused(self, x: Tensor) -> Tensor:
        """This package's operator."""
        return self.layer(x, self.lengths)

    def linear(self, x: Tensor) -> Tensor:
        """Plain PyTorch, with linear layers."""
        states = leaky_relu(self.layer.embed(x), SLOPE)
        weights = self.layer.query(states).tanh().softmax(dim=1)
        return (weights * states).sum(dim=1)

    def multiply_add(self, x: Tensor) -> Tensor:
        """Plain PyTorch, written as multiplications and additions, which a compiler can fuse."""
        weight = self.layer.embed.weight
        query = self.layer.query
        z = self.layer.embed.bias + x[..., :1] * weight[:, 0] + x[..., 1:] * weight[:, 1]
        states = torch.where(z > 0, z, SLOPE * z)
        scores = ((states * query.weight[0]).sum(dim=2, keepdim=True) + query.bias).tanh()
        return (scores.softmax(dim=1) * states).sum(dim=1)

    def jax(self) -> Step | None:
        """The same under jax.jit, where JAX is installed."""
        try:
            import jax  # noqa: PLC0415
        except ImportError:
            return None
        arrays = [jax.numpy.asarray(p.detach().cpu().numpy()) for p in self.layer.parameters()]
        x = jax.numpy.asarray(self.x.cpu().numpy())
        g = jax.numpy.asarray(self.g.cpu().numpy())

        def loss(parameters: list, x: object) -> object:
            query, query_bias, weight, bias = parameters
            z = bias + x[..., :1] * weight[:, 0] + x[..., 1:] * weight[:, 1]
            states = jax.numpy.where(z > 0, z, SLOPE * z)
            scores = jax.numpy.tanh((states * query[0]).sum(axis=2, keepdims=True) + query_bias)
            return ((jax.nn.softmax(scores, axis=1) * states).sum(axis=1) * g).sum()

        gradient = jax.jit(jax.grad(loss))
        return lambda: jax.block_until_ready(gradient(arrays, x))

    @property
    def fits(self) -> bool:
        """Whether eager PyTorch has the memory."""
        return self.x.shape[0] * self.x.shape[1] * HIDDEN * 4 * 5 < MOST_BYTES

    def steps(self) -> dict[str, Step]:
        """Every way that fits into memory, by its name."""
        steps = {"this package": self.run(self.fused)}
        if self.fits:
            steps["eager"] = self.run(self.linear)
            steps["compile, linear"] = self.run(torch.compile(self.linear, dynamic=False))
            steps["compile, multiply-add"] = self.run(torch.compile(self.multiply_add, dynamic=False))
            jax = self.jax()
            steps |= {"JAX jit": jax} if jax else {}
        return steps


def seconds(steps: dict[str, Step], budget: float = 6.0) -> dict[str, float]:
    """Median time of each step; the steps take turns, for about so many seconds in all.

    Everyone's first turn, in which things are compiled, does not count.
    """
    turns: dict[str, list[list[float]]] = {name: [] for name in steps}
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(turns[next(iter(steps))]) < 2:
        for name, step in steps.items():
            turns[name].append(_turn(step))
    return {name: median(itertools.chain(*counted)) for name, (_, *counted) in turns.items()}


def _turn(step: Step) -> list[float]:
    """Seconds of each run that counts; many of a short one, whose threads now and then wait for the system."""
    rested = now() + _REST
    while now() < rested:
        step()
    taken: list[float] = []
    while sum(taken) < _COUNTED or len(taken) < _LEAST:
        start = now()
        step()
        taken.append(now() - start)
    return taken


def sgemm_rate(device: str) -> float:
    """Measured rate of a product of two matrices of 2000 x 2000 float32, in operations a second."""
    a = torch.randn(2000, 2000, device=device)
    return 2 * 2000**3 / seconds({"sgemm": lambda: a @ a}, budget=2.0)["sgemm"]


def _gpu_peak_megabytes(name: str, time: int) -> float:
    """Peak of the memory that torch takes on the GPU for one way, beyond what stood before its second step."""
    step = Problem(time, device="cuda").steps()[name]
    step()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _peak_megabytes(name: str, time: int) -> float:
    """Peak memory of one way beyond what stood before its first step, in a process of its own (Linux)."""
    command = [sys.executable, "-m", "scripts.benchmarks", "--memory", name, str(time)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def print_peak(name: str, time: int) -> None:
    """Print the megabytes that one way takes at its peak beyond what stood before its first step.

    Args:
        name: Of the way, as in the table.
        time: Steps in each sequence.
    """
    Problem(11).run(Problem(11).fused)()  # load the compiled kernels first
    problem = Problem(time)
    step = problem.steps()[name]
    if "compile" in name:
        step()
    before = status_kb("VmRSS")
    reset_peak()
    step()
    print((status_kb("VmHWM") - before) / 1024)


def operator_table(device: str) -> Iterator[str]:
    """One row for each length: every way's time, this package's ratio, its share of the sgemm rate, memory."""
    rate = sgemm_rate(device)
    yield f"## Attention, forward and backward: batch {BATCH}, {HIDDEN} hidden units, {FEATURES} features\n"
    yield f"Milliseconds. Measured sgemm rate: {rate / 1e9:.0f} GFLOP/s; {OPERATIONS} operations are counted for each"
    yield "(sequence, step, hidden unit), the second computation of the states included.\n"
    names = ["this package", "eager", "compile, linear", "compile, multiply-add", "JAX jit"]
    memory = ["MB, this package", "MB, eager"] if device == "cuda" or sys.platform == "linux" else []
    header = ["T", *names, "eager / this", "best compile / this", "GFLOP/s", "of sgemm", *memory]
    yield row_of(header)
    yield row_of(["---:"] * len(header))
    for steps_of_time in TIMES:
        steps = Problem(steps_of_time, device=device).steps()
        taken = seconds(steps)
        this = taken["this package"]
        compiled = min((taken[name] for name in names[2:4] if name in taken), default=None)
        flops = OPERATIONS * BATCH * steps_of_time * HIDDEN / this
        cells = [f"{taken[name] * 1e3:.2f}" if name in taken else "-" for name in names]
        ratios = [f"{other / this:.1f}" if other else "-" for other in (taken.get("eager"), compiled)]
        shares = [f"{flops / 1e9:.0f}", f"{flops / rate:.0%}"]
        peak = _gpu_peak_megabytes if device == "cuda" else _peak_megabytes
        peaks = [f"{peak(name, steps_of_time):.0f}" if name in steps else "-" for name in names[:2] if memory]
        yield row_of([f"{steps_of_time:,}", *cells, *ratios, *shares, *peaks])


def scaling_table(device: str) -> Iterator[str]:
    """Time of this package's operator against length, batch and threads."""
    yield f"\n## Scaling of this package's operator ({HIDDEN} hidden units, {FEATURES} features)\n"
    yield row_of(["batch", "T", "threads", "ms", "ns a (sequence, step)"])
    yield row_of(["---:"] * 5)
    threads = torch.get_num_threads()
    cases = [(100, length, threads) for length in (1_000, 10_000, 100_000, 1_000_000)]
    cases += [(batch, 10_000, threads) for batch in (1, 10, 1_000)] + [(1, 1_000_000, threads)]
    cases += [(100, 10_000, count) for count in range(1, threads + 1)] if device == "cpu" else []
    for batch, length, count in cases:
        torch.set_num_threads(count)
        problem = Problem(length, batch, device)
        taken = seconds({"": problem.run(problem.fused)}, budget=3.0)[""]
        yield row_of([batch, f"{length:,}", count, f"{taken * 1e3:.2f}", f"{taken * 1e9 / batch / length:.1f}"])
    torch.set_num_threads(threads)


def row_of(cells: Sequence[object]) -> str:
    """Return a row of a Markdown table.

    Args:
        cells: What stands in it.
    """
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
