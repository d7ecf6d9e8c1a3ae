#!/usr/bin/env python3
"""Writes what real Keras computes: tests/golden/images/keras_*.f32, tests/golden/train/keras.json.

    KERAS_BACKEND=torch make_keras_vectors.py     (needs keras 3, torch 2.13.0, scipy, pillow; the tests need only the files)

keras_*.f32: ImageDataGenerator.apply_transform of photo.png for given draws, float32, HWC.
keras.json: "optimizers": parameters after 1 and 100 steps on the gradient of make_train_vectors.py; "fit": 20 losses of
Model.fit for the tutorial's example 3 on a small VGG (pictures.u8, batch 8, RMSprop), with the head's first weights;
"steps": how many steps each epoch takes for steps_per_epoch and epochs; "plateau": rates of ReduceLROnPlateau.
"""
import json
import pathlib
import sys
import warnings

import keras
import numpy as np
import scipy
import torch
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from PIL import Image

import make_networks
import make_train_vectors as common

OUT = pathlib.Path(__file__).resolve().parent
assert keras.backend.backend() == "torch"


def augmentations():
    photo = np.asarray(Image.open(OUT / "images" / "photo.png").convert("RGB"), np.float32)
    for name, fill, draw in (
            ("shear_zoom", "nearest", {"shear": 13.0, "zx": 0.85, "zy": 1.15, "flip_horizontal": True}),
            ("rotate_shift", "nearest", {"theta": 20.0, "tx": 4.5, "ty": -7.25}),
            ("constant", "constant", {"theta": -35.0, "zx": 1.3, "zy": 1.2}),
            ("reflect", "reflect", {"tx": 11.0, "ty": 9.5, "zx": 1.4, "zy": 1.4}),
            ("wrap", "wrap", {"tx": -13.0, "ty": 6.5}),
            ("flips", "nearest", {"flip_horizontal": True, "flip_vertical": True}),
            ("channel_shift", "nearest", {"theta": 5.0, "channel_shift_intensity": 31.5}),
            ("brighter", "nearest", {"shear": 4.0, "flip_vertical": True, "brightness": 1.35}),
            ("darker", "nearest", {"brightness": 0.4, "channel_shift_intensity": -20.25})):
        generator = ImageDataGenerator(fill_mode=fill, cval=7.0, brightness_range=(0.1, 2.0))
        result = np.ascontiguousarray(generator.apply_transform(photo.copy(), draw), np.float32)
        (OUT / "images" / f"keras_{name}.f32").write_bytes(result.tobytes())


def run_optimizer(make, steps):
    keras.config.set_floatx("float64")
    try:
        optimizer, p = make(), keras.Variable(common.START, dtype="float64")
        for t in range(1, steps + 1):
            gradient = common.gradient(keras.ops.convert_to_numpy(p), t)
            optimizer.apply([torch.tensor(gradient, dtype=torch.float64)], [p])
        return keras.ops.convert_to_numpy(p).tolist()
    finally:
        keras.config.set_floatx("float32")


def optimizers():
    o = keras.optimizers
    cases = {"sgd": lambda: o.SGD(), "sgd_momentum": lambda: o.SGD(0.01, momentum=0.9),
             "sgd_nesterov": lambda: o.SGD(0.01, momentum=0.9, nesterov=True), "adam": lambda: o.Adam(),
             "adamw": lambda: o.AdamW(), "rmsprop": lambda: o.RMSprop(), "rmsprop_momentum": lambda: o.RMSprop(momentum=0.5)}
    return {name: {str(n): run_optimizer(make, n) for n in (1, 100)} for name, make in cases.items()}


class Steps(keras.callbacks.Callback):
    """Losses of single steps, and the steps of each epoch."""

    def __init__(self):
        super().__init__()
        self.losses, self.epochs = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.sum, self.count = 0.0, 0
        self.epochs.append(0)

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1  # Keras reports the mean of the epoch so far
        self.losses.append(logs["loss"] * self.count - self.sum)
        self.sum = logs["loss"] * self.count
        self.epochs[-1] += 1


def fit():
    base = make_networks.randomise(make_networks.TinyVgg(), 3)
    inputs = x = keras.Input((32, 32, 3))
    for layer in base.features:
        if isinstance(layer, torch.nn.Conv2d):
            convolution = keras.layers.Conv2D(layer.out_channels, 3, padding="same", activation="relu", trainable=False)
            x = convolution(x)
            convolution.set_weights([layer.weight.detach().permute(2, 3, 1, 0).numpy(), layer.bias.detach().numpy()])
        elif isinstance(layer, torch.nn.MaxPool2d):
            x = keras.layers.MaxPooling2D(2)(x)
    keras.utils.set_random_seed(4)
    hidden, last = keras.layers.Dense(16, activation="relu"), keras.layers.Dense(5, activation="softmax")
    model = keras.Model(inputs, last(hidden(keras.layers.GlobalAveragePooling2D()(x))))
    weights = {"head.hidden.fc1.weight": hidden.kernel, "head.hidden.fc1.bias": hidden.bias, "head.fc.weight": last.kernel,
               "head.fc.bias": last.bias}
    head = {name: keras.ops.convert_to_numpy(value).T.tolist() for name, value in weights.items()}
    model.compile(optimizer=keras.optimizers.RMSprop(), loss="categorical_crossentropy", metrics=["accuracy"])
    steps = Steps()
    pictures = common.pictures().astype(np.float32) / 255
    model.fit(pictures, np.eye(5, dtype=np.float32)[np.arange(40) % 5], batch_size=8, epochs=4, shuffle=False, verbose=0,
              callbacks=[steps])
    return {"head": head, "losses": steps.losses}


def steps_per_epoch():
    """Four batches of data."""
    x, y, result = np.zeros((20, 2), np.float32), np.zeros((20, 1), np.float32), []
    for per_epoch, epochs in ((1, 6), (2, 4), (3, 4), (4, 2), (5, 2), (7, 2)):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse")
        steps = Steps()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(x, y, batch_size=5, shuffle=False, steps_per_epoch=per_epoch, epochs=epochs, verbose=0, callbacks=[steps])
        ran_out = any("ran out of data" in str(warning.message) for warning in caught)
        result.append({"steps_per_epoch": per_epoch, "epochs": epochs, "steps": steps.epochs, "ran_out": ran_out})
    return result


def plateau():
    """Learning rates in force at each epoch."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.4), loss="mse")
    callback, rates = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=2), []
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, loss in enumerate(common.PLATEAU_LOSSES):
        rates.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
        callback.on_epoch_end(epoch, {"val_loss": loss})
    return rates


def main():
    augmentations()
    result = {"optimizers": optimizers(), "fit": fit(), "steps": steps_per_epoch(), "plateau": plateau()}
    (OUT / "train" / "keras.json").write_text(json.dumps(result, indent=1))
    print(f"keras {keras.__version__}, backend torch {torch.__version__}, scipy {scipy.__version__}:", result["steps"],
          result["fit"]["losses"][-1], file=sys.stderr)


if __name__ == "__main__":
    main()
