"""Weights as others publish them: names and shapes listed by hand, and their networks in plain functions of torch.

Nothing here builds a layer of ours: `models.pretrained.imported` must agree with what is listed and computed here.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
Tensors = dict[str, Tensor]

IR_SE_50, IR_101 = (3, 4, 14, 3), (3, 13, 30, 3)
SMALL_CHANNELS = {4: 6, 8: 6, 16: 6, 32: 6, 64: 4}


def ffhq_channels(multiplier: int) -> dict[int, int]:
    """Return the channels by resolution of the published StyleGAN2: config-f has multiplier 2, config-e 1."""
    wide = {64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}
    return {4: 512, 8: 512, 16: 512, 32: 512} | {side: multiplier * count for side, count in wide.items()}


def generator_shapes(resolution: int, channels: dict[int, int], *, latent: int, mapping: int) -> Shapes:
    """Return names and shapes of `g_ema`."""
    shapes: Shapes = {}
    for index in range(1, mapping + 1):
        shapes |= {f"style.{index}.weight": (latent, latent), f"style.{index}.bias": (latent,)}
    shapes["input.input"] = (1, channels[4], 4, 4)
    shapes |= _styled("conv1", channels[4], channels[4], latent=latent)
    shapes |= _rgb("to_rgb1", channels[4], latent=latent)
    shapes["noises.noise_0"] = (1, 1, 4, 4)
    for index in range(int(math.log2(resolution)) - 2):
        side = 8 * 2**index
        shapes |= _styled(f"convs.{2 * index}", channels[side // 2], channels[side], latent=latent)
        shapes[f"convs.{2 * index}.conv.blur.kernel"] = (4, 4)
        shapes |= _styled(f"convs.{2 * index + 1}", channels[side], channels[side], latent=latent)
        shapes |= _rgb(f"to_rgbs.{index}", channels[side], latent=latent)
        shapes[f"to_rgbs.{index}.upsample.kernel"] = (4, 4)
        shapes |= {f"noises.noise_{2 * index + number}": (1, 1, side, side) for number in (1, 2)}
    return shapes


def _styled(name: str, inputs: int, outputs: int, *, latent: int) -> Shapes:
    return {
        f"{name}.conv.weight": (1, outputs, inputs, 3, 3),
        f"{name}.conv.modulation.weight": (inputs, latent),
        f"{name}.conv.modulation.bias": (inputs,),
        f"{name}.noise.weight": (1,),
        f"{name}.activate.bias": (outputs,),
    }


def _rgb(name: str, inputs: int, *, latent: int) -> Shapes:
    return {
        f"{name}.bias": (1, 3, 1, 1),
        f"{name}.conv.weight": (1, 3, inputs, 1, 1),
        f"{name}.conv.modulation.weight": (inputs, latent),
        f"{name}.conv.modulation.bias": (inputs,),
    }


def _norm(name: str, channels: int) -> Shapes:
    vectors = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**vectors, f"{name}.num_batches_tracked": ()}


def body_shapes(stages: tuple[int, ...], width: int, *, squeeze: int | None) -> Shapes:
    """Return `input_layer` and `body` of an improved residual network; `squeeze` narrows squeeze-and-excitation."""
    shapes: Shapes = {"input_layer.0.weight": (width, 3, 3, 3), **_norm("input_layer.1", width)}
    shapes["input_layer.2.weight"] = (width,)
    outputs = [width * 2**stage for stage, count in enumerate(stages) for _ in range(count)]
    for index, (before, after) in enumerate(zip([width, *outputs], outputs, strict=False)):
        block = f"body.{index}.res_layer"
        shapes |= {**_norm(f"{block}.0", before), f"{block}.1.weight": (after, before, 3, 3)}
        shapes |= {
            f"{block}.2.weight": (after,),
            f"{block}.3.weight": (after, after, 3, 3),
            **_norm(f"{block}.4", after),
        }
        if squeeze:
            shapes[f"{block}.5.fc1.weight"] = (after // squeeze, after, 1, 1)
            shapes[f"{block}.5.fc2.weight"] = (after, after // squeeze, 1, 1)
        if before != after:
            short = f"body.{index}.shortcut_layer"
            shapes |= {f"{short}.0.weight": (after, before, 1, 1), **_norm(f"{short}.1", after)}
    return shapes


def recognizer_shapes(stages: tuple[int, ...], *, squeeze: int | None, affine: bool) -> Shapes:
    """Return names and shapes of `model_ir_se50.pth` or `CurricularFace_Backbone.pth`."""
    head = _norm("output_layer.4", 512)
    if not affine:
        del head["output_layer.4.weight"], head["output_layer.4.bias"]
    linear = {"output_layer.3.weight": (512, 512 * 7 * 7), "output_layer.3.bias": (512,)}
    return {**body_shapes(stages, 64, squeeze=squeeze), **_norm("output_layer.0", 512), **linear, **head}


def encoder_shapes(stages: tuple[int, ...], width: int, *, styles: int, latent: int, side: int) -> Shapes:
    """Return names and shapes of a GradualStyleEncoder for pictures of `side` pixels."""
    shapes, deep = body_shapes(stages, width, squeeze=16), 8 * width
    for style in range(styles):
        level = side // (16 if style < 3 else 8 if style < 7 else 4)
        for index in range(int(math.log2(level))):
            name = f"styles.{style}.convs.{2 * index}"
            shapes |= {f"{name}.weight": (latent, latent if index else deep, 3, 3), f"{name}.bias": (latent,)}
        linear = f"styles.{style}.linear"
        shapes |= {f"{linear}.weight": (latent, latent), f"{linear}.bias": (latent,)}
    for name, inputs in (("latlayer1", deep // 2), ("latlayer2", deep // 4)):
        shapes |= {f"{name}.weight": (deep, inputs, 1, 1), f"{name}.bias": (deep,)}
    return shapes


def psp_shapes(encoder: Shapes, generator: Shapes) -> Shapes:
    """Return names and shapes of a pSp `state_dict`."""
    encoder = {f"encoder.{name}": shape for name, shape in encoder.items()}
    return encoder | {f"decoder.{name}": shape for name, shape in generator.items()}


def small_psp(styles: int = 10) -> dict[str, object]:
    """Return the smallest pSp checkpoint that is legal: 64 px, 10 latents of 8 numbers."""
    encoder = encoder_shapes((1, 2, 1, 1), 16, styles=styles, latent=8, side=32)
    shapes = psp_shapes(encoder, generator_shapes(64, SMALL_CHANNELS, latent=8, mapping=2))
    tensors = drawn(shapes)
    options = {"encoder_type": "GradualStyleEncoder", "learning_rate": 1e-4, "device": "cuda:0"}
    return {"state_dict": tensors, "opts": options, "latent_avg": torch.randn(styles, 8, generator=seeded(1))}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(shapes: Shapes) -> Tensors:
    """Return random values that keep features in range: variances positive, filters by their inputs."""
    generator, tensors = seeded(0), {}
    kernel = torch.tensor([1.0, 3.0, 3.0, 1.0]).outer(torch.tensor([1.0, 3.0, 3.0, 1.0])) / 16
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        if name.endswith("kernel"):
            value = kernel.clone()
        elif name.endswith("num_batches_tracked"):
            value = torch.tensor(7)
        elif name.endswith("running_var"):
            value = 1 + 0.2 * value.abs()
        elif name == "output_layer.3.weight" or (name.endswith("weight") and len(shape) == 4):
            value = value / math.sqrt(math.prod(shape[1:]))  # all other weights are scaled as they are used
        tensors[name] = value
    return tensors


def within(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def upfirdn(image: Tensor, kernel: Tensor, *, up: int, pad: tuple[int, int]) -> Tensor:
    """Return what StyleGAN2's reference operation of that name does: zeros between, padding, true convolution."""
    count, channels, height, width = image.shape
    spread = image.new_zeros(count, channels, height * up, width * up)
    spread[:, :, ::up, ::up] = image
    padded = F.pad(spread, (*pad, *pad)).reshape(count * channels, 1, height * up + sum(pad), width * up + sum(pad))
    filtered = F.conv2d(padded, kernel.flip(0, 1)[None, None])
    return filtered.reshape(count, channels, *filtered.shape[2:])


def modulated(
    w: Tensors, name: str, features: Tensor, latent: Tensor, *, up: bool = False, demod: bool = True
) -> Tensor:
    """Return a modulated convolution as StyleGAN2 has it: weights of their own for each picture of the batch."""
    weight = w[f"{name}.weight"][0]
    style = latent @ w[f"{name}.modulation.weight"].T / math.sqrt(latent.shape[1]) + w[f"{name}.modulation.bias"]
    pictures = []
    for picture, scales in zip(features[:, None], style, strict=True):
        own = weight * scales[None, :, None, None] / math.sqrt(weight[0].numel())
        if demod:
            own = own / (own.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            doubled = F.conv_transpose2d(picture, own.transpose(0, 1), stride=2)
            pictures.append(upfirdn(doubled, w[f"{name}.blur.kernel"], up=1, pad=(1, 1)))
        else:
            pictures.append(F.conv2d(picture, own, padding=weight.shape[-1] // 2))
    return torch.cat(pictures)


def synthesise(w: Tensors, latents: Tensor) -> Tensor:
    """Return the pictures of W+ `(N, L, D)` under the weights `w` of a `g_ema`, with its fixed noises."""

    def styled(name: str, features: Tensor, latent: Tensor, noise: str, *, up: bool = False) -> Tensor:
        features = modulated(w, f"{name}.conv", features, latent, up=up) + w[f"{name}.noise.weight"] * w[noise]
        return F.leaky_relu(features + w[f"{name}.activate.bias"][:, None, None], 0.2) * math.sqrt(2)

    def rgb(name: str, features: Tensor, latent: Tensor) -> Tensor:
        return modulated(w, f"{name}.conv", features, latent, demod=False) + w[f"{name}.bias"]

    features = styled("conv1", w["input.input"].repeat(len(latents), 1, 1, 1), latents[:, 0], "noises.noise_0")
    image = rgb("to_rgb1", features, latents[:, 1])
    for index in range(latents.shape[1] // 2 - 1):
        at = 2 * index + 1
        features = styled(f"convs.{at - 1}", features, latents[:, at], f"noises.noise_{at}", up=True)
        features = styled(f"convs.{at}", features, latents[:, at + 1], f"noises.noise_{at + 1}")
        image = upfirdn(image, w[f"to_rgbs.{index}.upsample.kernel"], up=2, pad=(2, 1))
        image = image + rgb(f"to_rgbs.{index}", features, latents[:, at + 2])
    return image


def mapped(w: Tensors, z: Tensor, layers: int) -> Tensor:
    """Return w `(N, D)` of z under the mapping network, whose learning rate is a hundredth."""
    z = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for index in range(1, layers + 1):
        linear = z @ w[f"style.{index}.weight"].T * (0.01 / math.sqrt(z.shape[1])) + 0.01 * w[f"style.{index}.bias"]
        z = F.leaky_relu(linear, 0.2) * math.sqrt(2)
    return z


def _batch_norm(w: Tensors, name: str, features: Tensor) -> Tensor:
    mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    return F.batch_norm(features, mean, variance, w.get(f"{name}.weight"), w.get(f"{name}.bias"))


def body(w: Tensors, pictures: Tensor, stages: tuple[int, ...]) -> list[Tensor]:
    """Return the features after each block of an improved residual network."""
    stem = _batch_norm(w, "input_layer.1", F.conv2d(pictures, w["input_layer.0.weight"], padding=1))
    features, after = F.prelu(stem, w["input_layer.2.weight"]), []
    strides = [2 if index == 0 else 1 for count in stages for index in range(count)]
    for index, stride in enumerate(strides):
        name = f"body.{index}.res_layer"
        inner = F.conv2d(_batch_norm(w, f"{name}.0", features), w[f"{name}.1.weight"], padding=1)
        inner = F.conv2d(F.prelu(inner, w[f"{name}.2.weight"]), w[f"{name}.3.weight"], stride=stride, padding=1)
        inner = _batch_norm(w, f"{name}.4", inner)
        if f"{name}.5.fc1.weight" in w:
            squeezed = F.relu(F.conv2d(F.adaptive_avg_pool2d(inner, 1), w[f"{name}.5.fc1.weight"]))
            inner = inner * torch.sigmoid(F.conv2d(squeezed, w[f"{name}.5.fc2.weight"]))
        short = f"body.{index}.shortcut_layer"
        if f"{short}.0.weight" in w:
            features = _batch_norm(w, f"{short}.1", F.conv2d(features, w[f"{short}.0.weight"], stride=stride))
        else:
            features = features[:, :, ::stride, ::stride]
        features = inner + features
        after.append(features)
    return after


def embed(w: Tensors, pictures: Tensor, stages: tuple[int, ...]) -> Tensor:
    """Return the unit embeddings of IR-SE-50 or IR-101."""
    features = _batch_norm(w, "output_layer.0", body(w, pictures, stages)[-1])
    embedding = F.linear(features.flatten(1), w["output_layer.3.weight"], w["output_layer.3.bias"])
    embedding = _batch_norm(w, "output_layer.4", embedding)
    return embedding / embedding.norm(dim=1, keepdim=True)


def encode(w: Tensors, pictures: Tensor, stages: tuple[int, ...], styles: int) -> Tensor:
    """Return the latents of a GradualStyleEncoder, relative to the average."""
    after = body(w, pictures, stages)
    ends = [sum(stages[: count + 1]) - 1 for count in range(4)]
    fine, medium, coarse = (after[end] for end in ends[1:])

    def lateral(above: Tensor, name: str, level: Tensor) -> Tensor:
        doubled = F.interpolate(above, size=level.shape[2:], mode="bilinear", align_corners=True)
        return doubled + F.conv2d(level, w[f"{name}.weight"], w[f"{name}.bias"])

    medium = lateral(coarse, "latlayer1", medium)
    fine = lateral(medium, "latlayer2", fine)
    latents = []
    for style in range(styles):
        features, index = (coarse if style < 3 else medium if style < 7 else fine), 0
        while f"styles.{style}.convs.{index}.weight" in w:
            name = f"styles.{style}.convs.{index}"
            features = F.conv2d(features, w[f"{name}.weight"], w[f"{name}.bias"], stride=2, padding=1)
            features, index = F.leaky_relu(features, 0.01), index + 2
        weight, bias = w[f"styles.{style}.linear.weight"], w[f"styles.{style}.linear.bias"]
        latents.append(features.flatten(1) @ weight.T / math.sqrt(weight.shape[1]) + bias)
    return torch.stack(latents, dim=1)
