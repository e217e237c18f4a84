"""Records the small PyTorch systems on PyTorch 1.0.0 in golden files.

    python systems_torch.py OUT

Runs only on Python 3.6, in the environment that `environments.sh` builds. One thread, because the
drawn numbers must not depend on the machine.

Keys begin with the system, then the variant if it has several, then the dtype. An array after
"(digest)" below is stored as `systems_inputs.digest` describes, others completely.

sine-recurrent    x, y, initial/W, D/sums (of 200 epochs), D/trained/W, D/prediction
sine-denoiser/V   drawn/W (minimum, maximum, mean and deviation over 200 draws),
                  seed 1/W (digest: the first draw after `manual_seed(1)`),
                  D/output, D/loss, D/gradient/W (digest), D/steps/loss,
                  D/steps/weights/W (digests)
vae               seed 1/W (digest), D/output, D/mu, D/logvar, D/bce, D/kld, D/loss,
                  D/gradient/W (digests), D/steps/... as above,
                  D/saturated/value, D/saturated/gradient: of the binary cross-entropy
dense-autoencoder/A  D/output, D/loss, D/gradient/W (digests), D/steps/...; 4 has steps only
fgsm              D/output, D/loss, D/gradient (by the picture), D/attacked, D/output after
adam              D/1e-08, D/1e-06 (epsilon): 64 weights after each of 5 prescribed gradients

Weights in D/steps/weights/W are those after the steps `systems_inputs.KEPT_STEPS`, one row each.
"""

import json
import sys
from collections import OrderedDict

import numpy as np
import systems_inputs as inputs
import torch
import torch.nn.functional as F
from golden_file import GoldenFile, versions
from torch import nn

DTYPES = {"float32": torch.float32, "float64": torch.float64}
DRAWS = 200


class Denoiser(nn.Module):
    """Every RNN starts from a state of zero; its dropout cannot act, because it has one layer."""

    def __init__(self, variant):
        super().__init__()
        kind = nn.GRU if variant == "bigru" else nn.RNN
        both = variant != "rnn"
        self.rnn = kind(1, inputs.HIDDEN, batch_first=True, bidirectional=both)
        self.fc = nn.Linear(inputs.HIDDEN * (1 + both), 1)

    def forward(self, x):
        return torch.tanh(self.fc(self.rnn(x)[0]))


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, 20)
        self.fc22 = nn.Linear(400, 20)
        self.fc3 = nn.Linear(20, 400)
        self.fc4 = nn.Linear(400, 784)

    def forward(self, x, epsilon):
        hidden = F.relu(self.fc1(x))
        mu, logvar = self.fc21(hidden), self.fc22(hidden)
        z = mu + torch.exp(0.5 * logvar) * epsilon
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


class DenseAutoencoder(nn.Module):
    """Layers fc1, fc2, ...; ReLU after all but the code and the last, which has a sigmoid."""

    def __init__(self, architecture):
        super().__init__()
        encoder = inputs.ENCODERS[architecture]
        widths = encoder + encoder[-2::-1]
        self.code, self.last = len(encoder) - 1, len(widths) - 1
        for i in range(self.last):
            setattr(self, "fc%d" % (i + 1), nn.Linear(widths[i], widths[i + 1]))

    def forward(self, x):
        for i in range(1, self.last):
            x = getattr(self, "fc%d" % i)(x)
            x = x if i == self.code else F.relu(x)
        return torch.sigmoid(getattr(self, "fc%d" % self.last)(x))


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = F.relu(self.fc1(x.view(-1, 320)))
        x = F.dropout(x, training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


def tensor(array, dtype):
    return torch.from_numpy(np.ascontiguousarray(array)).to(DTYPES[dtype])


def loaded(model, name, dtype):
    """The model with the generated weights of this name."""
    given = inputs.weights(name)
    model.load_state_dict(OrderedDict((k, torch.from_numpy(v)) for k, v in given.items()))
    return model.to(DTYPES[dtype])


def add(out, key, value, name=None):
    """Store a digest; its places depend on `name`, by default the last part of the key."""
    name = name or key.split("/")[-1]
    out.add(key, inputs.digest(name, value.detach().numpy()))


def add_gradients(out, prefix, model):
    for name, value in model.named_parameters():
        add(out, prefix + "gradient/" + name, value.grad)


def add_draws(out, prefix, make):
    """Moments of freshly drawn weights, and the weights that seed 1 draws."""
    torch.manual_seed(1)
    draws = [make().state_dict() for _ in range(DRAWS)]
    for name, value in draws[0].items():
        add(out, prefix + "seed 1/" + name, value)
        found = np.array([draw[name].numpy() for draw in draws], np.float64)
        moments = [found.min(), found.max(), found.mean(), found.std()]
        out.add(prefix + "drawn/" + name, np.array(moments))


def add_steps(out, prefix, model, loss_of_step, steps=5, **adam):
    """Steps of Adam; `loss_of_step(step)` is the loss that step differentiates."""
    optimizer = torch.optim.Adam(model.parameters(), **adam)
    losses, kept = [], OrderedDict((name, []) for name, _ in model.named_parameters())
    for step in range(steps):
        optimizer.zero_grad()
        loss = loss_of_step(step)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step + 1 in inputs.KEPT_STEPS:
            for name, value in model.named_parameters():
                kept[name].append(inputs.digest(name, value.detach().numpy()))
    dtype = next(model.parameters()).detach().numpy().dtype
    out.add(prefix + "steps/loss", np.array(losses, dtype))
    for name, rows in kept.items():
        out.add(prefix + "steps/weights/" + name, np.array(rows))


def sine_recurrent(out):
    """The study's executed revision: seed 1, 200 epochs of 200 updates."""
    torch.manual_seed(1)
    start = [torch.zeros(7, 6).normal_(0.0, 0.4), torch.zeros(6, 1).normal_(0.0, 0.3)]
    values = torch.sin(torch.linspace(2, 10, 201))
    prefix = "sine-recurrent/"
    out.add(prefix + "initial/w1", start[0].numpy())
    out.add(prefix + "initial/w2", start[1].numpy())
    out.add(prefix + "x", values[:-1].numpy())
    out.add(prefix + "y", values[1:].numpy())
    for dtype in DTYPES:
        w1, w2 = [w.to(DTYPES[dtype], copy=True).requires_grad_() for w in start]
        x, y = values[:-1].to(DTYPES[dtype]), values[1:].to(DTYPES[dtype])

        def predict(step, state, w1=w1, w2=w2, x=x):
            state = torch.tanh(torch.cat((x[step].view(1, 1), state), 1).mm(w1))
            return state.mm(w2), state

        sums = []
        for _ in range(200):
            total, state = 0, torch.zeros(1, 6, dtype=x.dtype)
            for step in range(len(x)):
                prediction, state = predict(step, state)
                loss = (prediction - y[step]).pow(2).sum() / 2
                loss.backward()
                for w in (w1, w2):
                    w.data -= 0.05 * w.grad.data
                    w.grad.data.zero_()
                state = state.detach()
                total = total + loss.detach()
            sums.append(total.numpy())
        out.add(prefix + dtype + "/sums", np.array(sums))
        out.add(prefix + dtype + "/trained/w1", w1.detach().numpy())
        out.add(prefix + dtype + "/trained/w2", w2.detach().numpy())
        state, found = torch.zeros(1, 6, dtype=x.dtype), []
        for step in range(len(x)):
            prediction, state = predict(step, state.detach())
            found.append(prediction.item())
        out.add(prefix + dtype + "/prediction", np.array(found, dtype))


def sine_denoiser(out):
    noisy, clean = inputs.denoiser_batch()
    for variant in inputs.DENOISERS:
        name = "sine-denoiser/" + variant
        add_draws(out, name + "/", lambda variant=variant: Denoiser(variant))
        for dtype in DTYPES:
            prefix = "%s/%s/" % (name, dtype)
            model = loaded(Denoiser(variant), name, dtype)
            x, y = tensor(noisy, dtype), tensor(clean, dtype)
            output = model(x)
            loss = F.l1_loss(output, y)
            loss.backward()
            out.add(prefix + "output", output.detach().numpy())
            out.add(prefix + "loss", loss.detach().numpy())
            add_gradients(out, prefix, model)

            def loss_of_step(step, model=model, x=x, y=y):
                return F.l1_loss(model(x), y)

            add_steps(out, prefix, model, loss_of_step, lr=0.01)


def vae_losses(model, images, epsilon):
    output, mu, logvar = model(images, epsilon)
    bce = F.binary_cross_entropy(output, images)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / (128 * 784)
    return output, mu, logvar, bce, kld, bce + kld


def vae(out):
    torch.manual_seed(1)
    for name, value in VAE().state_dict().items():
        add(out, "vae/seed 1/" + name, value)
    for dtype in DTYPES:
        prefix = "vae/%s/" % dtype
        model = loaded(VAE(), "vae", dtype)

        def losses(name, count, model=model, dtype=dtype):
            images = inputs.unit(inputs.pictures("vae " + name, count)).reshape(count, 784)
            epsilon = inputs.normals("vae epsilon " + name, (count, 20))
            return vae_losses(model, tensor(images, dtype), tensor(epsilon, dtype))

        found = losses("few", inputs.FEW)
        found[-1].backward()
        for key, value in zip(("output", "mu", "logvar", "bce", "kld", "loss"), found):
            add(out, prefix + key, value)
        add_gradients(out, prefix, model)

        def loss_of_step(step, losses=losses):
            return losses(str(step), inputs.BATCHES["vae"][step])[-1]

        add_steps(out, prefix, model, loss_of_step, lr=1e-3)
        saturated(out, prefix, dtype)


def saturated(out, prefix, dtype):
    p, target = inputs.saturated(inputs.TORCH_PROBABILITIES, inputs.TORCH_TARGETS)
    p, target = tensor(p, dtype).requires_grad_(), tensor(target, dtype)
    values = F.binary_cross_entropy(p, target, reduction="none")
    values.sum().backward()
    out.add(prefix + "saturated/value", values.detach().numpy())
    out.add(prefix + "saturated/gradient", p.grad.numpy())


def dense_autoencoder(out):
    loss_of = nn.BCELoss(reduction="sum")
    for architecture, encoder, epsilon in (
        ("1", "1", 1e-8),
        ("2", "2", 1e-8),
        ("3", "3", 1e-8),
        ("4", "2", 1e-6),
    ):
        for dtype in DTYPES:
            prefix = "dense-autoencoder/%s/%s/" % (architecture, dtype)
            model = loaded(DenseAutoencoder(encoder), "dense-autoencoder/" + encoder, dtype)

            def run(name, count, model=model, dtype=dtype):
                pixels = inputs.pictures("dense-autoencoder " + name, count)
                images = tensor(inputs.unit(pixels).reshape(count, 784), dtype)
                output = model(images)
                return output, loss_of(output, images)

            if architecture == encoder:
                output, loss = run("few", inputs.FEW)
                loss.backward()
                add(out, prefix + "output", output)
                add(out, prefix + "loss", loss)
                add_gradients(out, prefix, model)

            def loss_of_step(step, run=run):
                return run(str(step), inputs.BATCHES["dense-autoencoder"][step])[1]

            add_steps(out, prefix, model, loss_of_step, lr=1e-3, eps=epsilon)


def fgsm(out):
    """One image at a time, as the study did; `attacked` is the picture for epsilon 0.3."""
    pictures, labels = inputs.attacked_pictures()
    for dtype in DTYPES:
        model = loaded(LeNet(), "fgsm", dtype).eval()
        rows = {name: [] for name in ("output", "loss", "gradient", "attacked", "output after")}
        for picture, label in zip(pictures, labels):
            x = tensor(picture[None], dtype).requires_grad_()
            output = model(x)
            loss = F.nll_loss(output, torch.tensor([label]))
            loss.backward()
            attacked = torch.clamp(x + 0.3 * x.grad.sign(), 0, 1)
            after = model(attacked)
            found = (output[0], loss, x.grad[0], attacked[0], after[0])
            for values, value in zip(rows.values(), found):
                values.append(value.detach().numpy())
        for name, values in rows.items():
            out.add("fgsm/%s/%s" % (dtype, name), np.array(values))


def adam(out):
    """Adam without a network, with gradients from 1e-10 to 10, so that epsilon is seen."""
    for dtype in DTYPES:
        for epsilon in (1e-8, 1e-6):
            weight = nn.Parameter(torch.zeros(64, dtype=DTYPES[dtype]))
            optimizer = torch.optim.Adam([weight], lr=1e-3, eps=epsilon)
            rows = []
            for step in range(5):
                weight.grad = tensor(inputs.prescribed_gradients(step), dtype)
                optimizer.step()
                rows.append(weight.detach().numpy().copy())
            out.add("adam/%s/%.0e" % (dtype, epsilon), np.array(rows))


def main(path):
    torch.set_num_threads(1)
    out = GoldenFile()
    out.text["versions"] = versions("torch", "numpy")
    for record in (sine_recurrent, sine_denoiser, vae, dense_autoencoder, fgsm, adam):
        record(out)
    out.write(path)
    print(json.dumps(out.text["versions"]))


if __name__ == "__main__":
    main(sys.argv[1])
