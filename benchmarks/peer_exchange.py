"""The other side of exchange.py: FOLDER ARCH; prints the versions of what is there as JSON."""

import json
import sys
from pathlib import Path

import torch
from peer_torch import declare_operators
from safetensors.torch import load_file, save_file


class Means(torch.nn.Module):
    """The means of timm's last feature map; ours has no more of a network either."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.load_state_dict, self.state_dict = model.load_state_dict, model.state_dict

    def forward(self, x):
        return self.model.forward_features(x).mean((2, 3))


def mobile(arch):
    """Yield what `networks` does, of a backbone that has timm's names."""
    import fastai
    import timm
    from fastai.vision import learner

    def bodiless_head(model):
        """A convolution or norm after the mean is not of the body."""
        if hasattr(model, "norm_head"):
            model.conv_head = torch.nn.Identity()
        elif hasattr(model, "head"):
            model.head = torch.nn.Identity()
        return model

    yield "timm", timm.__version__, Means(bodiless_head(timm.create_model(arch, num_classes=0)))
    learner.timm = timm
    model, _ = learner.create_timm_model(arch, 5, pretrained=False)
    bodiless_head(model[0].model)
    yield "fastai", fastai.__version__, model


def networks(arch):
    """Yield (name, version, network) of the libraries that are installed."""
    declare_operators()
    import torchvision

    if not arch.startswith("resnet"):
        yield from mobile(arch)
        return
    plain = getattr(torchvision.models, arch)()
    plain.fc = torch.nn.Identity()
    yield "torchvision", torchvision.__version__, plain
    import fastai
    from fastai.vision.all import create_vision_model

    model = create_vision_model(getattr(torchvision.models, arch), 5, pretrained=False)
    yield "fastai", fastai.__version__, model
    try:
        import timm
    except ImportError:
        return
    yield "timm", timm.__version__, timm.create_model(arch, num_classes=0)


def stir(model):
    """Give batch norms statistics and scales as of a training."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                value.normal_(0, 0.1)


def main(folder, arch):
    folder, versions = Path(folder), {}
    torch.manual_seed(2)
    x = load_file(folder / "x.safetensors")["x"]
    for name, version, model in networks(arch):
        versions[name] = version
        model.eval()
        stir(model)
        save_file(model.state_dict(), folder / f"theirs-{name}.safetensors")
        with torch.no_grad():
            theirs = model(x)
            model.load_state_dict(load_file(folder / f"ours-{name}.safetensors"))
            answers = {"ours": model(x), "theirs": theirs}
        save_file({k: v.contiguous() for k, v in answers.items()},
                  folder / f"answers-{name}.safetensors")
    print(json.dumps(versions))


if __name__ == "__main__":
    main(*sys.argv[1:])
