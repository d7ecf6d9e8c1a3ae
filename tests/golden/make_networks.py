#!/usr/bin/env python3
"""Writes the tiny networks of tests/golden/networks and what PyTorch says of them.

    make_networks.py          (needs torch; the tests need only the files)

Every network takes [N, 3, 32, 32]. input.f32 is [2, 3, 32, 32]; NAME.OUTPUT.f32 are raw little-endian float32 values
computed by PyTorch in eager mode from the original nn.Module, not from the TorchScript file.
"""
import copy
import json
import pathlib

import numpy as np
import torch
from torch import nn

OUT = pathlib.Path(__file__).resolve().parent / "networks"


class Bottleneck(nn.Module):
    def __init__(self, c_in, width, stride):
        super().__init__()
        c_out = 2 * width
        self.conv1, self.bn1 = nn.Conv2d(c_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, c_out, 1, bias=False), nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        identity = x
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        if self.downsample is not None:
            identity = self.downsample(x)
        y += identity
        return self.relu(y)


class TinyResNet(nn.Module):
    """The shape of torchvision's ResNet: forward calls _forward_impl, stages are Sequentials of bottlenecks."""

    def __init__(self, classes=5):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Bottleneck(8, 4, 1), Bottleneck(8, 4, 1))
        self.layer2 = nn.Sequential(Bottleneck(8, 8, 2), Bottleneck(16, 8, 1))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, classes)

    def _forward_impl(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))

    def forward(self, x):
        return self._forward_impl(x)


class TinyVgg(nn.Module):
    """The shape of torchvision's VGG: features, avgpool, classifier with dropout."""

    def __init__(self, classes=5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(
            nn.Linear(48, 20), nn.ReLU(inplace=True), nn.Dropout(),
            nn.Linear(20, 16), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(16, classes))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Conditional(nn.Module):
    """A layer that is called in an if."""

    def __init__(self):
        super().__init__()
        self.stem, self.extra, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 5)

    def forward(self, x):
        x = self.stem(x)
        if bool(x.mean() > 0):
            x = self.extra(x)
        return self.fc(x.mean([2, 3]))


class Outputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = self.conv(x)
        return y, y.mean([2, 3])


class NoForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 5)

    @torch.jit.export
    def predict(self, x):
        return self.fc(x)


def randomise(net, seed):
    """Weights and batch norm statistics that make every layer matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in list(net.named_parameters()) + list(net.named_buffers()):
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point():
                fan_in = tensor[0].numel() if tensor.dim() > 1 else 4
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan_in ** 0.5)
                if name.endswith(("bn1.weight", "bn2.weight", "bn3.weight", "downsample.1.weight")):
                    tensor.abs_().add_(0.5)
    return net.eval()


def write(name, tensor):
    (OUT / f"{name}.f32").write_bytes(np.ascontiguousarray(tensor.detach().numpy(), dtype="<f4").tobytes())


def main():
    OUT.mkdir(exist_ok=True)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    write("input", x)

    resnet, vgg = randomise(TinyResNet(), 2), randomise(TinyVgg(), 3)
    for name, net in (("resnet", resnet), ("vgg", vgg)):
        torch.jit.script(net).save(str(OUT / f"{name}_scripted.pt"))
        torch.jit.trace(net, x).save(str(OUT / f"{name}_traced.pt"))
        write(f"{name}.logits", net(x))
    torch.jit.trace(copy.deepcopy(vgg).train(), x, check_trace=False).save(str(OUT / "vgg_traced_training.pt"))
    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                        nn.Flatten(), nn.Linear(4, 5))
    torch.jit.trace(randomise(own, 6), x).save(str(OUT / "batch_statistics_traced.pt"))
    torch.jit.freeze(torch.jit.script(resnet)).save(str(OUT / "resnet_frozen.pt"))

    wanted = {"resnet": ("layer1", "layer2", "layer2.1.conv2", "avgpool", "fc"),
              "vgg": ("features", "avgpool", "classifier.3", "classifier.6")}
    for name, net in (("resnet", resnet), ("vgg", vgg)):
        seen = {}
        hooks = [net.get_submodule(layer).register_forward_hook(
            lambda _, args, result, layer=layer: seen.update({layer: (args[0].clone(), result.clone())}))
            for layer in wanted[name]]
        net(x)
        for hook in hooks:
            hook.remove()
        for layer, (before, after) in seen.items():
            if layer != "features":  # the input itself
                write(f"{name}.before.{layer}", before)
            write(f"{name}.after.{layer}", after)

    torch.jit.script(Conditional().eval()).save(str(OUT / "conditional.pt"))
    torch.jit.script(Outputs().eval()).save(str(OUT / "tuple.pt"))
    torch.jit.script(NoForward().eval()).save(str(OUT / "no_forward.pt"))
    torch.jit.script(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                   nn.Linear(4, 5)).eval()).save(str(OUT / "one_channel.pt"))
    torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)).eval()).save(str(OUT / "head_only.pt"))
    torch.save(vgg.state_dict(), OUT / "state_dict.pth")

    broken = randomise(TinyVgg(), 3)
    with torch.no_grad():
        broken.features[3].bias[2] = float("nan")
    torch.jit.script(broken).save(str(OUT / "not_a_number.pt"))
    torch.jit.script(randomise(TinyVgg(), 3).half()).save(str(OUT / "half.pt"))

    description = {
        "schema": 1,
        "preprocessing": {"resize_shorter_px": None, "crop_height_px": 32, "crop_width_px": 32, "interpolation": "nearest",
                          "channels": "bgr", "scale": 1.0, "mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]},
        "labels": [{"id": f"n{i}", "name": f"thing {i}"} for i in range(5)]}
    torch.jit.script(resnet).save(str(OUT / "described.pt"), _extra_files={"graft.json": json.dumps(description)})
    for name, change in (("newer", {"schema": 99}), ("two_labels", {"labels": description["labels"][:2]}),
                         ("damaged", {"preprocessing": {"crop_height_px": "x"}})):
        torch.jit.script(resnet).save(str(OUT / f"described_{name}.pt"),
                                      _extra_files={"graft.json": json.dumps(description | change)})
    print("wrote", len(list(OUT.iterdir())), "files,", sum(f.stat().st_size for f in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
