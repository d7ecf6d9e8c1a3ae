#!/usr/bin/env python3
"""What Graft is measured beside. Called by the other scripts, in the environment that common.py makes:

    peers.py serve PEER MODEL NETWORK PRECISION BATCH THREADS [DEVICE]
                                                                 prints "ready", then images per second for each line SECONDS
    peers.py first PEER MODEL PICTURE THREADS                    prints the class of one picture, as soon as it can
    peers.py train MODEL NETWORK FREEZE PRECISION BATCH THREADS [DEVICE]
                                                                 prints "ready", then images per second for each line PICTURES: PyTorch
                                                                 trains an epoch on so many, channels last, frozen layers under no_grad;
                                                                 on CUDA compiled, with pictures that are on the device
    peers.py finetune MODEL NETWORK FOLDER EPOCHS BATCH THREADS OUT    PyTorch trains a linear head on the JPEGs of FOLDER/train and saves it
    peers.py pictures FOLDER                                     draws pictures to calibrate with
    peers.py openvino MODEL.onnx MODEL.xml
    peers.py quantize-onnx MODEL.onnx FOLDER OUT.onnx            ONNX Runtime's static quantisation
    peers.py quantize-openvino MODEL.onnx FOLDER OUT.xml         NNCF's post-training quantisation

PEER is pytorch (eager, channels last), compiled (torch.compile with freezing), torchscript, onnxruntime or openvino; on CUDA the first
two. Each is imported
where it is used: what a program that uses one of them would not import costs it nothing.
"""
import functools
import os
import pathlib
import sys
import time

import numpy as np
from PIL import Image

SIDE, PICTURES, TOGETHER = 224, 128, 10
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def prepare(path):
    """[1, 3, 224, 224]: resized to 256, cropped and normalised as torchvision does it."""
    image = Image.open(path).convert("RGB")
    w, h = image.size
    image = image.resize((256, 256 * h // w) if w <= h else (256 * w // h, 256), Image.Resampling.BILINEAR)
    left, top = round((image.width - SIDE) / 2), round((image.height - SIDE) / 2)
    x = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255
    return np.ascontiguousarray(((x - MEAN) / STD).transpose(2, 0, 1))[None]


def draw_pictures(folder):
    """Smooth colours, so that activations spread as photos' do; the file names are the seeds."""
    folder.mkdir(parents=True)
    for seed in range(PICTURES):
        small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{seed:03}.jpg", quality=90)


def calibration(folder):
    return [{"input": prepare(path)} for path in sorted(folder.iterdir())]


# --- Each peer: (what brings a NumPy batch into its form, what runs on that)

def read_network(model, network):
    import torch
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "models"))
    import networks
    net = networks.NETWORKS[network]().eval()
    net.load_state_dict(torch.jit.load(str(model)).state_dict())
    return net.to(memory_format=torch.channels_last)


def pytorch(model, network, precision, threads, compiled=False, device="cpu"):
    import torch
    torch.set_num_threads(threads)
    net = read_network(model, network).to(device)
    if compiled:
        torch._inductor.config.freezing = True
        net = torch.compile(net)

    def run(x):
        with torch.no_grad() if compiled else torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            y = net(x).float()
            return y.numpy() if device == "cpu" else y
    return lambda x: torch.from_numpy(x).to(device, memory_format=torch.channels_last), run


def torchscript(model, network, precision, threads):
    import torch
    torch.set_num_threads(threads)
    net = torch.jit.load(str(model)).eval()

    def run(x):
        with torch.inference_mode():
            return net(x).numpy()
    return torch.from_numpy, run


def onnxruntime(model, network, precision, threads):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda x: x, lambda x: session.run(None, {"input": x})[0]


def openvino(model, network, precision, threads, batch=1):
    import openvino as ov
    core = ov.Core()
    read = core.read_model(str(model))
    read.reshape([batch, 3, SIDE, SIDE])
    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    if precision != "int8":  # what is left in floating point there, it decides itself
        options["INFERENCE_PRECISION_HINT"] = {"float32": "f32", "bfloat16": "bf16"}[precision]
    compiled = core.compile_model(read, "CPU", options)
    if precision == "bfloat16" and compiled.get_property("INFERENCE_PRECISION_HINT") != ov.Type.bf16:
        raise SystemExit("this processor has no bfloat16")
    request = compiled.create_infer_request()
    return lambda x: x, lambda x: request.infer({0: x}, share_inputs=True, share_outputs=True)[0]


PEERS = {"pytorch": pytorch, "compiled": functools.partial(pytorch, compiled=True), "torchscript": torchscript,
         "onnxruntime": onnxruntime, "openvino": openvino}


def serve(out, peer, model, network, precision, batch, threads, device="cpu"):
    batch, together = int(batch), 1 if device == "cpu" else TOGETHER
    more = {"batch": batch} if peer == "openvino" else {} if device == "cpu" else {"device": device}
    convert, run = PEERS[peer](pathlib.Path(model), network, precision, int(threads), **more)
    x = convert(np.random.default_rng(0).random((batch, 3, SIDE, SIDE), np.float32))
    for _ in range(3):
        run(x)
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        seconds, done, start = float(line), 0, time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            for _ in range(together):
                y = run(x)
                done += batch
            if device != "cpu":  # a call only starts work there
                y.cpu()
        print(done / passed, file=out, flush=True)


def first(out, peer, model, picture, threads):
    convert, run = PEERS[peer](pathlib.Path(model), None, "float32", int(threads))
    print(run(convert(prepare(picture))).argmax(), file=out, flush=True)


# --- Fine-tuning

class Tuning:
    """A network in two, the frozen layers and those that train: a linear head, for VGG16 the tutorial's."""

    def __init__(self, model, network, freeze, precision, classes, device="cpu"):
        import torch
        from torch import nn
        net = read_network(model, network)
        if network == "vgg16":
            layers, head = [net.features], [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, classes)]
        else:
            layers = [net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4, net.avgpool, nn.Flatten()]
            head = [nn.Linear(2048, classes)]
        frozen = {"until:layer4": 7, "none": 0}.get(freeze, len(layers))
        self.trunk, self.rest = nn.Sequential(*layers[:frozen]).eval().to(device), nn.Sequential(*layers[frozen:], *head).to(device)
        self.optimizer = torch.optim.Adam(self.rest.parameters(), fused=device != "cpu")
        self.autocast = functools.partial(torch.autocast, device, torch.bfloat16, enabled=precision == "bfloat16")
        if device != "cpu":
            torch._inductor.config.freezing = True
            self.trunk, self.rest = torch.compile(self.trunk) if frozen else self.trunk, torch.compile(self.rest)

    def logits(self, x):
        import torch
        with self.autocast():
            with torch.no_grad():
                features = self.trunk(x.to(memory_format=torch.channels_last))
            return self.rest(features).float()

    def train(self, batches):
        """Returns how many pictures it were."""
        import torch
        self.rest.train()
        done = 0
        for x, labels in batches:
            self.optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.logits(x), labels).backward()
            self.optimizer.step()
            done += len(x)
        return done

    def accuracy(self, batches):
        import torch
        self.rest.eval()
        with torch.no_grad():
            right = [self.logits(x).argmax(1) == labels for x, labels in batches]
        return torch.cat(right).float().mean().item()


def train(out, model, network, freeze, precision, batch, threads, device="cpu"):
    import torch
    torch.set_num_threads(int(threads))
    tuning, batch = Tuning(model, network, freeze, precision, classes=10, device=device), int(batch)
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        x = torch.rand(int(line), 3, SIDE, SIDE, device=device).to(memory_format=torch.channels_last)
        labels = (torch.arange(len(x)) % 10).to(device)
        start = time.monotonic()
        done = tuning.train(zip(x.split(batch), labels.split(batch)))
        if device != "cpu":
            torch.cuda.synchronize()
        print(done / (time.monotonic() - start), file=out, flush=True)


class Folder:
    """A folder for each class, as torchvision's ImageFolder has it: for PyTorch's DataLoader."""

    def __init__(self, root):
        classes = sorted(entry for entry in root.iterdir() if entry.is_dir())
        self.files = [(path, i) for i, folder in enumerate(classes) for path in sorted(folder.iterdir()) if path.suffix.lower() in (".jpg", ".jpeg")]

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        path, label = self.files[i]
        return prepare(path)[0], label


def finetune(out, model, network, folder, epochs, batch, threads, saved):
    import torch
    torch.set_num_threads(int(threads))
    tuning = Tuning(model, network, "all", "float32", classes=2)
    options = {"batch_size": int(batch), "num_workers": int(threads), "persistent_workers": True}
    loaders = {part: torch.utils.data.DataLoader(Folder(pathlib.Path(folder) / part), shuffle=part == "train", **options) for part in ("train", "val")}
    for _ in range(int(epochs)):
        tuning.train(loaders["train"])
        accuracy = tuning.accuracy(loaders["val"])
    torch.save(torch.nn.Sequential(tuning.trunk, tuning.rest).state_dict(), saved)
    print(accuracy, file=out, flush=True)


# --- Files

def convert_to_openvino(source, out):
    import openvino as ov
    ov.save_model(ov.convert_model(source), out, compress_to_fp16=False)


def quantize_onnx(source, folder, out):
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):
        def __init__(self):
            self.pictures = iter(calibration(pathlib.Path(folder)))

        def get_next(self):
            return next(self.pictures, None)
    q.quantize_static(source, out, Reader(), quant_format=q.QuantFormat.QDQ, per_channel=True, activation_type=q.QuantType.QUInt8,
                      weight_type=q.QuantType.QInt8)


def quantize_openvino(source, folder, out):
    import nncf
    import openvino as ov
    pictures = nncf.Dataset(calibration(pathlib.Path(folder)))
    ov.save_model(nncf.quantize(ov.convert_model(source), pictures, subset_size=PICTURES), out, compress_to_fp16=False)


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peers print is not a result
    job, *arguments = sys.argv[1:]
    if job in ("serve", "first", "train", "finetune"):
        {"serve": serve, "first": first, "train": train, "finetune": finetune}[job](out, *arguments)
    elif job == "pictures":
        draw_pictures(pathlib.Path(*arguments))
    else:
        {"openvino": convert_to_openvino, "quantize-onnx": quantize_onnx, "quantize-openvino": quantize_openvino}[job](*arguments)


if __name__ == "__main__":
    main()
