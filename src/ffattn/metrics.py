"""What is measured on an evaluation set: the same numbers however the set is divided into batches."""

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection

from ffattn.batch import Batch
from ffattn.models import Answer
from ffattn.tasks import Task


class Scores:
    pass
