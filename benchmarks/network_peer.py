"""Whole networks under one library; run as a script by `networks.py`, Python 3.6 or later.

    python network_peer.py THREADS

reads requests from stdin, one JSON a line, and answers likewise:

    {"library": "torch", "network": "brain"}  builds the network: {}
    {"run": true}                             runs it once: {"seconds", "cpu"}
    {"peak": true}  bytes that building and running have added at most: {"bytes", "check"}

tissue: a training step of `examples/train_tissue.py`, 4 patches of 32^3 voxels. brain: the network
of `examples/brain_extraction.py` on one head of 128^3 voxels.
"""

import json
import os
import sys
import time

import numpy as np

THREADS = int(sys.argv[1])
BATCH, PATCH, CLASSES = 4, 32, 3
HEAD = 128


def data():
    rng = np.random.RandomState(0)
    images = rng.standard_normal((BATCH, PATCH, PATCH, PATCH, 1)).astype(np.float32)
    targets = rng.randint(0, CLASSES, images.shape[:4]).astype(np.int32)
    head = rng.uniform(0, 1, (1, HEAD, HEAD, HEAD, 1)).astype(np.float32)
    return images, targets, head


# --- conv3d and TensorFlow: the same program ------------------------------------------------------


def tensorflow_like(tf, network):
    images, targets, head = data()
    tf.set_random_seed(1)
    config = tf.ConfigProto(intra_op_parallelism_threads=THREADS, inter_op_parallelism_threads=1)
    if network == "tissue":
        sys.modules["conv3d"] = tf  # the example's own program, whichever library it is
        sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../examples"))
        import train_tissue

        model = train_tissue.Model()
        feeds = {model.images: images, model.targets: targets, model.training: True}
        fetches = [model.train, model.loss]
    else:
        x = tf.placeholder(tf.float32, [None, HEAD, HEAD, HEAD, 1])
        feeds, fetches = {x: head}, [brain(tf, x)]
    session = tf.Session(config=config)
    session.run(tf.global_variables_initializer())
    return lambda: float(np.mean(session.run(fetches, feeds)[-1]))


def brain(tf, x):
    def convolutions(x, filters):
        for _ in range(2):
            x = tf.layers.conv3d(x, filters, 3, padding="same", activation=tf.nn.relu)
        return x

    def up(x, beside, filters):
        x = tf.layers.conv3d_transpose(x, filters, 3, 2, padding="same", use_bias=False)
        x = tf.concat([x, beside], axis=4)
        return tf.layers.conv3d(x, filters, 3, padding="same", activation=tf.nn.relu)

    fine = convolutions(x, 8)
    middle = convolutions(tf.layers.max_pooling3d(fine, 2, 2), 16)
    coarse = convolutions(tf.layers.max_pooling3d(middle, 2, 2), 32)
    x = up(tf.layers.max_pooling3d(coarse, 2, 2), coarse, 32)
    x = up(up(x, middle, 16), fine, 8)
    return tf.nn.sigmoid(tf.layers.conv3d(x, 1, 1))


# --- PyTorch --------------------------------------------------------------------------------------


def torch_network(network):
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.set_num_threads(THREADS)
    torch.set_num_interop_threads(1)
    torch.manual_seed(1)
    last = torch.channels_last_3d
    images, targets, head = data()

    def tensor(a):
        return torch.from_numpy(np.moveaxis(a, -1, 1).copy()).contiguous(memory_format=last)

    class Tissue(nn.Module):
        def __init__(self):
            super().__init__()

            def two(i, o):
                layers = []
                for a in (i, o):
                    layers += [
                        nn.Conv3d(a, o, 3, padding=1, bias=False),
                        nn.BatchNorm3d(o, eps=1e-3),
                        nn.ReLU(inplace=True),
                    ]
                return nn.Sequential(*layers)

            self.down = nn.ModuleList([two(1, 8), two(8, 16), two(16, 32)])
            self.up = nn.ModuleList(
                [nn.ConvTranspose3d(32, 16, 2, 2), nn.ConvTranspose3d(16, 8, 2, 2)]
            )
            self.after = nn.ModuleList([two(32, 16), two(16, 8)])
            self.last = nn.Conv3d(8, CLASSES, 1)

        def forward(self, x):
            a = self.down[0](x)
            b = self.down[1](F.max_pool3d(a, 2))
            x = self.down[2](F.max_pool3d(b, 2))
            for i, beside in enumerate((b, a)):
                x = self.after[i](torch.cat([beside, self.up[i](x)], 1))
            return self.last(x)

    class Brain(nn.Module):
        def __init__(self):
            super().__init__()

            def conv(i, o):
                return nn.Sequential(nn.Conv3d(i, o, 3, padding=1), nn.ReLU(inplace=True))

            def up(i, o):
                return nn.ConvTranspose3d(i, o, 3, 2, padding=1, output_padding=1, bias=False)

            self.down = nn.ModuleList(
                [nn.Sequential(conv(i, o), conv(o, o)) for i, o in ((1, 8), (8, 16), (16, 32))]
            )
            self.up = nn.ModuleList([up(32, 32), up(32, 16), up(16, 8)])
            self.after = nn.ModuleList([conv(64, 32), conv(32, 16), conv(16, 8)])
            self.last = nn.Conv3d(8, 1, 1)

        def forward(self, x):
            beside = []
            for layer in self.down:
                x = layer(x)
                beside.append(x)
                x = F.max_pool3d(x, 2)
            for i, layer in enumerate(self.up):
                x = self.after[i](torch.cat([layer(x), beside.pop()], 1))
            return torch.sigmoid(self.last(x))

    if network == "brain":
        model, x = Brain().to(memory_format=last).eval(), tensor(head)

        def run():
            with torch.inference_mode():
                return float(model(x).mean())

        return run

    model, x = Tissue().to(memory_format=last), tensor(images)
    y = torch.from_numpy(targets.astype(np.int64))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def step():
        optimizer.zero_grad()
        logits = model(x)
        probability = torch.softmax(logits, 1)[:, 1:]
        truth = F.one_hot(y, CLASSES).permute(0, 4, 1, 2, 3)[:, 1:].float()
        axes = (0, 2, 3, 4)
        both = (probability * truth).sum(axes)
        total = probability.sum(axes) + truth.sum(axes)
        dice = 1 - ((2 * both + 1) / (total + 1)).mean()
        loss = F.cross_entropy(logits, y) + dice
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


# --- requests -------------------------------------------------------------------------------------


def status(field):
    with open("/proc/self/status") as f:
        return next(int(x.split()[1]) * 1024 for x in f if x.startswith(field + ":"))


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    run, before, check = None, 0, None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "network" in request:
                if request["library"] == "torch":
                    import torch  # noqa: F401

                    before = status("VmRSS")
                    run = torch_network(request["network"])
                else:
                    tf = __import__(request["library"])
                    before = status("VmRSS")
                    run = tensorflow_like(tf, request["network"])
                answer = {}
            elif "run" in request:
                wall, cpu = time.perf_counter(), time.process_time()
                check = run()
                answer = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            else:
                answer = {"bytes": status("VmHWM") - before, "check": check}
        except Exception as error:
            answer = {"error": type(error).__name__ + ": " + str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
