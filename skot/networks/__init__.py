"""Architectures of potentials and maps: components that build torch modules."""

from skot.networks._base import Map, MapModule, Potential, PotentialModule
from skot.networks._conditional import ConditionalMLP
from skot.networks._conv import ConvPotential
from skot.networks._dual import DualMLP, DualNetwork, DualUNet
from skot.networks._encoders import DeepSets, Encoder, ResNetEncoder
from skot.networks._gradient_map import GradientMap
from skot.networks._hyper import HyperModule, HyperNetwork
from skot.networks._icnn import ICNN
from skot.networks._log_sum_exp import LogSumExpPotential
from skot.networks._metric import MetricModule, NeuralMetric
from skot.networks._mlp import MLPMap, MLPPotential
from skot.networks._path import SplinePath
from skot.networks._pretrain import pretrain_identity
from skot.networks._resnet import ResNetPotential
from skot.networks._started import StartedMap, StartedPotential
from skot.networks._unet import UNet

__all__ = [
    "ICNN",
    "ConditionalMLP",
    "ConvPotential",
    "DeepSets",
    "DualMLP",
    "DualNetwork",
    "DualUNet",
    "Encoder",
    "GradientMap",
    "HyperModule",
    "HyperNetwork",
    "LogSumExpPotential",
    "MLPMap",
    "MLPPotential",
    "Map",
    "MapModule",
    "MetricModule",
    "NeuralMetric",
    "Potential",
    "PotentialModule",
    "ResNetEncoder",
    "ResNetPotential",
    "SplinePath",
    "StartedMap",
    "StartedPotential",
    "UNet",
    "pretrain_identity",
]
